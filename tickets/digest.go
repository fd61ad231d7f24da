package tickets

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash"
)

// RequestDigest identifies a request and what EPM told of it, as a card or a
// form shows them. What people click on carries it, so that nobody decides on
// anything but what they saw: numbers are given out again after a restore, and
// another installation has tickets of the same numbers.
type RequestDigest string

// A digest is two hashes, in hex: one of the request's id, and one of the id
// and everything that EPM told. They are cut to what a button has room for. The
// first tells apart what nobody chose; the second has to hold against whoever
// writes a request.
const (
	idHash  = 8  // bytes
	allHash = 16 // bytes
)

// Errors of [RequestDigest.Check].
var (
	// ErrOtherRequest means that the digest is of another request.
	ErrOtherRequest = errors.New("the message belongs to another request")
	// ErrMoreKnown means that EPM has told more of the request since.
	ErrMoreKnown = errors.New("more is known of the request")
)

// Digest is the digest of r: a pure function of its id and of the fields that
// EPM sent, whatever happens to its ticket. It is empty if r is nil.
func (r *Request) Digest() RequestDigest {
	if r == nil {
		return ""
	}
	h := sha256.New()
	hashText(h, string(r.ID))
	sum := h.Sum(nil)[:idHash:idHash]
	for _, f := range r.Fields {
		hashText(h, f.Name)
		hashText(h, f.Value)
	}
	return RequestDigest(hex.EncodeToString(append(sum, h.Sum(nil)[:allHash]...)))
}

// hashText hashes s with its length, as the stored form would have it, in
// which what is no UTF-8 is replaced.
func hashText(h hash.Hash, s string) {
	s = string([]rune(s))
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(s))))
	h.Write([]byte(s))
}

// ParseRequestDigest reads a digest that comes from outside, and reports
// whether it can be one.
func ParseRequestDigest(s string) (RequestDigest, bool) {
	raw, err := hex.DecodeString(s)
	if err != nil || len(raw) != idHash+allHash || hex.EncodeToString(raw) != s {
		return "", false
	}
	return RequestDigest(s), true
}

// Check is nil if d is the digest of r, else [ErrOtherRequest] or
// [ErrMoreKnown].
func (d RequestDigest) Check(r *Request) error {
	now := r.Digest()
	switch {
	case d == now && d != "":
		return nil
	case len(d) == len(now) && now != "" && d[:2*idHash] == now[:2*idHash]:
		return ErrMoreKnown
	}
	return ErrOtherRequest
}
