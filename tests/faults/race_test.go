//go:build race

package faults

// raced says that the program is built with the race detector too.
const raced = true
