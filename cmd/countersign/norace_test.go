//go:build !race

package main

// instants is how often TestStoryBothAtTheSameInstant lets two people decide.
const instants = 1000

// memoryStorm is how many webhooks TestStoryStormLeavesMemoryFlat sends.
const memoryStorm = 20000
