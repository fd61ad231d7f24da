//go:build !race

package main

// instants is how often TestStoryBothAtTheSameInstant lets two people decide.
const instants = 1000
