// Package exhibit shows what evidence consists of: every field, certificate,
// TCB level and event, decoded. It verifies nothing and believes nothing; what
// it shows may be forged from end to end, and it says so. What cannot be
// decoded is shown as that, and does not hide the rest.
package exhibit
