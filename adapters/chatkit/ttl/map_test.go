package ttl

import (
	"testing"
	"time"
)

func TestMapForgets(t *testing.T) {
	now := time.Now()
	m := NewMap[string, int](time.Minute, func() time.Time { return now })
	is := func(when, key string, want int) {
		t.Helper()
		if got, ok := m.Get(key); got != want || ok != (want != 0) {
			t.Errorf("%s: Get(%s) = %d, %v; want %d", when, key, got, ok, want)
		}
	}
	m.Put("a", 1)
	now = now.Add(59 * time.Second)
	if got := m.PutNew("a", 2); got != 1 {
		t.Errorf("PutNew = %d, want what is there", got)
	}
	m.Update("b", func(old int) int { return old + 3 })
	is("within its time", "a", 1)
	now = now.Add(time.Second) // PutNew prolonged nothing
	is("after its time", "a", 0)
	is("within its time", "b", 3)
	m.Update("b", func(old int) int { return old + 1 })
	now = now.Add(59 * time.Second)
	is("changed later", "b", 4)
	now = now.Add(-10 * time.Minute)
	is("with the clock set back", "b", 0)
	if m.Put("c", 5); len(m.entries) != 1 {
		t.Errorf("%d values are kept, want the new one", len(m.entries))
	}
}
