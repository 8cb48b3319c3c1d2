package attest

// GPUPolicy says what NVIDIA devices are good enough. Its zero value is the
// strictest.
type GPUPolicy struct{}
