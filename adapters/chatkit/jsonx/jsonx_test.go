package jsonx

import (
	"encoding/json"
	"testing"
)

func TestTextTakesAnything(t *testing.T) {
	for in, want := range map[string]string{
		`"a"`: "a", `12`: "12", `-3.5`: "-3.5", `null`: "", `true`: "", `{"a":1}`: "", `["a"]`: "", `"\ud800"`: "\ufffd",
	} {
		var got struct{ T LooseString }
		if err := json.Unmarshal([]byte(`{"T":`+in+`}`), &got); err != nil || string(got.T) != want {
			t.Errorf("%s is %q, %v; want %q", in, got.T, err, want)
		}
	}
}

func TestSoftKeepsTheOtherFields(t *testing.T) {
	var got struct {
		A int
		B string
	}
	if err := IgnoreTypeErrors(json.Unmarshal([]byte(`{"A":"x","B":"y"}`), &got)); err != nil || got.B != "y" {
		t.Errorf("got %+v, %v", got, err)
	}
	if IgnoreTypeErrors(json.Unmarshal([]byte(`{"A":`), &got)) == nil {
		t.Error("half an object is no error")
	}
}

func TestEncodeLeavesTextAlone(t *testing.T) {
	got, err := Encode("<a & b>")
	if err != nil || string(got) != `"<a & b>"` {
		t.Errorf("Encode = %s, %v", got, err)
	}
}
