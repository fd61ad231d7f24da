//go:build !race

package discord_test

// interactions is how many TestManyInteractions makes.
const interactions = 10_000
