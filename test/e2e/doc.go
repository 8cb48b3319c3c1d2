// Package e2e boots the real image: the whole chain through `secretvm up`, and
// then the attacks of docs/threat-model.md that need a machine, each performed
// by a dishonest host. Its tests have the build tag e2e; `make test` runs them.
package e2e
