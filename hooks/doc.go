// Package hooks runs an operator's commands: hooks around recoveries, fences,
// clones.
//
//   - A command never takes longer than its time: then its whole process group is
//     killed, grandchildren too. Only what it moved into another session escapes.
//   - It is over when its own process has ended. What it left running in the
//     background is not waited for and, unless its time was over, not killed; it
//     should write elsewhere than to the command's output.
//   - Of its output the beginning and the end are kept.
//   - It sees none of Remora's environment but the names in inherited, so no
//     secret either.
//
// What is run, and when, is not known here.
package hooks
