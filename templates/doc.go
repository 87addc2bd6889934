// Package templates renders files from Consul's KV with consul-template, as a
// library, and has the programs reload that read them: HAProxy first of all.
//
// What a Runner promises:
//   - A file is checked before it replaces the old one, and replaces it at once:
//     a reader sees the old or the new one. Whatever fails, the old file stays,
//     the runner lives on and tries again, and Status says what failed with what
//     the tool said.
//   - Commands are bounded in time and in what is kept of their output. One that
//     is too slow is killed with all that it started in its process group. A
//     reload that failed or was cut short is tried again, also after a restart.
//   - Consul may be away, frozen, or have lost its store: the file stays as it is,
//     and Status says so.
//   - What is known to be committed (Switch) wins over Consul: a file that is
//     older, or has an epoch that only Consul knows, is held back. Where nothing is
//     known, as after a start, no file is older than the one in place.
//   - The token is in no log, no error and no command's environment. None is taken
//     from the environment.
//
// It knows nothing of Remora's ledger: whoever has one calls Switch.
package templates
