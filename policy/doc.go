// Package policy reads policy files: what a caller wants of a machine, in YAML.
// Parse is strict, for a policy that says less than its author meant is worse
// than none: unknown fields, repeated ones, values without meaning and YAML's
// aliases are errors that name the line. The schema stands once, in the type
// Policy; its JSON form and the table in the documentation are made from it.
package policy
