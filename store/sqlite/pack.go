package sqlite

import (
	_ "embed" // the dictionary
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/klauspost/compress/s2"

	"github.com/countersign/countersign/store"
)

// Tickets and webhooks are much alike, so they are kept packed with a common
// dictionary, in less than half the bytes. A commit waits for the disk, so
// that is most of what a webhook costs.
//
// A packed value begins with a byte that says how: packPlain or packS2v1.
// What was ever written must stay readable: a better dictionary would be
// packS2v2 beside this one.
const (
	packPlain byte = 0
	packS2v1  byte = 1
)

// dictionary1 is an application request's webhook and its ticket. It must
// never change.
//
//go:embed dictionary.v1
var dictionary1 []byte

// maxUnpacked bounds what a damaged value can unpack to, in bytes; a webhook
// has at most 1 MiB, and its ticket little more.
const maxUnpacked = 16 << 20

// packer packs and unpacks. It is safe for concurrent use.
type packer struct {
	dict *s2.Dict
	room sync.Pool // of *[]byte, to pack in: what is packed is much shorter than what it could become
}

func newPacker() (*packer, error) {
	dict := s2.MakeDict(dictionary1, nil)
	if dict == nil {
		return nil, errors.New("the dictionary is not usable")
	}
	return &packer{dict: dict, room: sync.Pool{New: func() any { return new([]byte) }}}, nil
}

// pack returns b packed, or plain if that is no longer.
func (p *packer) pack(b []byte) []byte {
	room := p.room.Get().(*[]byte)
	defer p.room.Put(room)
	*room = slices.Grow((*room)[:0], s2.MaxEncodedLen(len(b)))
	packed, how := p.dict.Encode((*room)[:cap(*room)], b), packS2v1
	if len(packed) >= len(b) {
		packed, how = b, packPlain
	}
	return append(append(make([]byte, 0, 1+len(packed)), how), packed...)
}

// unpack returns what was packed.
func (p *packer) unpack(b []byte) ([]byte, error) {
	if len(b) == 0 {
		return nil, fmt.Errorf("%w: it is empty", store.ErrUnreadable)
	}
	switch b[0] {
	case packPlain:
		return b[1:], nil
	case packS2v1:
		n, err := s2.DecodedLen(b[1:])
		if err == nil && n > maxUnpacked {
			err = errors.New("it is too long")
		}
		var out []byte
		if err == nil {
			out, err = p.dict.Decode(nil, b[1:])
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", store.ErrUnreadable, err)
		}
		return out, nil
	}
	return nil, fmt.Errorf("the stored value: %w", store.ErrNewerForm)
}
