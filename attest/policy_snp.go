package attest

// SNPPolicy says what AMD SEV-SNP machines are good enough. Its zero value is
// the strictest.
type SNPPolicy struct{}
