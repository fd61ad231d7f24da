package sqlite

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"testing"
)

// What was stored with the dictionary can only be read with the same one.
func TestDictionaryNeverChanges(t *testing.T) {
	const want = "b8fd9b46f47739019f997aea86de41a5601e45f7916cc9c1f896e0f03af1a7cb"
	sum := sha256.Sum256(dictionary1)
	if got := hex.EncodeToString(sum[:]); got != want {
		t.Errorf("dictionary.v1 = %s, want %s: add another version instead of changing it", got, want)
	}
}

func TestPack(t *testing.T) {
	p, err := newPacker()
	if err != nil {
		t.Fatal(err)
	}
	noise := make([]byte, 5000)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	for name, b := range map[string][]byte{
		"Empty": {}, "Short": []byte("{"), "Noise": noise, "Dictionary": dictionary1, "Long": []byte(strings.Repeat("a reason ", 100_000)),
	} {
		packed := p.pack(b)
		if len(packed) > len(b)+1 {
			t.Errorf("%s: %d bytes became %d", name, len(b), len(packed))
		}
		back, err := p.unpack(packed)
		if err != nil || !bytes.Equal(back, b) {
			t.Errorf("%s: came back as %d bytes, %v; want %d", name, len(back), err, len(b))
		}
	}
	for name, b := range map[string][]byte{"Nothing": nil, "Newer": {9, 1, 2}, "Damaged": append([]byte{packS2v1}, noise[:100]...)} {
		if out, err := p.unpack(b); err == nil {
			t.Errorf("%s: unpacked to %d bytes, want an error", name, len(out))
		}
	}
}

func BenchmarkPack(b *testing.B) {
	p, err := newPacker()
	if err != nil {
		b.Fatal(err)
	}
	raw := bytes.ReplaceAll(dictionary1[len(dictionary1)-2200:], []byte(`""`), []byte(`"a value like others"`))
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n = len(p.pack(raw))
	}
	b.ReportMetric(float64(n)/float64(len(raw)), "ratio")
}
