//go:build race

package main

// instants is how often TestStoryBothAtTheSameInstant lets two people decide:
// the race detector makes each ten times dearer. .ci/run runs it without.
const instants = 160

// memoryStorm is how many webhooks TestStoryStormLeavesMemoryFlat sends.
const memoryStorm = 1000

// storm is how many requests TestStoryStorm makes at once.
const storm = 100
