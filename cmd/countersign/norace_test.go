//go:build !race

package main

// instants is how often TestStoryBothAtTheSameInstant lets two people decide.
const instants = 1000

// memoryStorm is how many webhooks TestStoryStormLeavesMemoryFlat sends.
const memoryStorm = 20000

// storm is how many requests TestStoryStorm makes at once.
const storm = 300
