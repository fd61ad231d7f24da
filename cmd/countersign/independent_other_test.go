//go:build !linux

package main

import "testing"

func TestIndependentSlack(t *testing.T) {
	t.Skip("the independent Slack listens on all interfaces: it runs in a network namespace, which only Linux has")
}
