//go:build !faults

package main

// applyFaultOverrides returns p: nothing from outside changes a program that was built
// without the tag faults. See faults.go.
func applyFaultOverrides(p Env) Env { return p }
