//go:build !faults

package main

// underTest returns p: nothing from outside changes a program that was built
// without the tag faults. See faults.go.
func underTest(p process) process { return p }
