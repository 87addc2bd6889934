// Package archtest holds the architecture: which package may import which, what
// a pure package must not do, and what no test may do. The rules are data, in
// rules_test.go; docs/architecture.md gives the reasons.
//
// It reads the source of every package of the module, test files and files behind
// build tags included, and compiles none of it.
package archtest
