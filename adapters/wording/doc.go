// Package wording holds the texts that people read, the same on every
// platform: cards and threads, forms, the help of commands, answers, and
// notices to admins. Everything a request brought is made visible and cut
// here; escaping for a platform is left to its adapter.
//
// No text here decides what the program does.
package wording
