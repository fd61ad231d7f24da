package main

import "log/slog"

// secret is a string that never prints itself: in %v, in a log or in JSON it
// is "[secret]". Reveal gives it away, where it is needed.
type secret string

// Reveal returns the secret itself.
func (s secret) Reveal() string { return string(s) }

func (s secret) String() string               { return "[secret]" }
func (s secret) GoString() string             { return "[secret]" }
func (s secret) LogValue() slog.Value         { return slog.StringValue("[secret]") }
func (s secret) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }
