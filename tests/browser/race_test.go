//go:build race

package browser

// raced says that the program is built with the race detector too.
const raced = true
