//go:build race

package discord_test

// interactions is how many TestManyInteractions makes: the race detector
// makes each ten times dearer. .ci/run runs it without.
const interactions = 2_000
