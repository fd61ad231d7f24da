package main

import (
	"fmt"
	"reflect"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What is wrong with how a value was written. Each of these would start well
// and fail later, where nothing points at the file that was saved so.
const (
	sayUTF16    = "is written in UTF-16: save it as UTF-8, without a byte-order mark"
	sayBOM      = "begins with a byte-order mark: save it as UTF-8 without one"
	sayNotUTF8  = "is not written in UTF-8: save it so"
	sayQuoted   = "stands in quotes, which would belong to it: write it without them; files of secrets and docker --env-file take every character as it is"
	sayBlank    = "is blank: write it, or remove the variable"
	sayBlankEnd = "begins or ends with a blank, which would belong to it: take that away"
	sayLines    = "is more than one line: write it alone"
	sayUnseen   = "holds a character that cannot be seen, %s: write it anew by hand, or copy it from another place"
	sayTwoWords = "holds a blank: write it alone, with nothing beside it"
	sayContent  = "is a certificate or a key itself: write the path of the file that holds it"

	// sayShort is about a secret that works.
	sayShort = "is shorter than %d characters, and may be guessed or cut off: make it longer"
)

// shortest is how many characters a secret should have at least: 12 letters
// and digits by chance are out of reach of any number of guesses over a
// network.
const shortest = 12

// loose are the variables in which blanks around the value mean nothing. In
// those that begin with SETTINGS_ they do not, either.
var loose = map[string]bool{"WEBHOOK_ALLOW": true, "TRUSTED_PROXIES": true, "ADMINS": true, "APPROVERS": true}

// written finds what is wrong with how values were written. Further findings
// about the same variables would only be its consequences.
func (env *environment) written() []finding {
	var findings []finding
	v := reflect.ValueOf(env).Elem()
	for f := range fields() {
		name, value := f.Tag.Get("envconfig"), v.FieldByIndex(f.Index).String()
		isSecret := f.Type == reflect.TypeFor[secret]()
		say := wrongly(value, isSecret, loose[name] || strings.HasPrefix(name, "SETTINGS_"))
		chat := strings.HasPrefix(name, "SLACK_") || strings.HasPrefix(name, "DISCORD_")
		if say == "" && isSecret && chat && strings.Contains(value, " ") && !strings.HasPrefix(value, "Bot ") {
			say = sayTwoWords
		}
		if say != "" {
			findings = append(findings, finding{name, say})
		}
	}
	return findings
}

// wrongly says what is wrong with how value was written, or "".
func wrongly(value string, isSecret, loose bool) string {
	switch {
	case strings.HasPrefix(value, "\xff\xfe"), strings.HasPrefix(value, "\xfe\xff"), isSecret && strings.Contains(value, "\x00"):
		return sayUTF16
	case strings.HasPrefix(value, "\ufeff"):
		return sayBOM
	case !isSecret && strings.Contains(value, "-----BEGIN "):
		return sayContent
	case !utf8.ValidString(value):
		return sayNotUTF8
	case value != "" && strings.TrimSpace(value) == "":
		if isSecret {
			return sayBlank
		}
		return "" // as if it were not set
	case inQuotes(strings.TrimSpace(value)):
		return sayQuoted
	case !loose && strings.TrimSpace(value) != value:
		return sayBlankEnd
	case loose:
		return ""
	case strings.ContainsAny(value, "\r\n"):
		return sayLines
	}
	for _, c := range value {
		if c != ' ' && (!unicode.IsGraphic(c) || unicode.IsSpace(c)) {
			return fmt.Sprintf(sayUnseen, fmt.Sprintf("%U", c))
		}
	}
	return ""
}

// inQuotes reports whether s stands in quotes of any kind.
func inQuotes(s string) bool {
	for _, pair := range []string{`""`, `''`, "``", "“”", "„“", "‘’", "«»"} {
		open, size := utf8.DecodeRuneInString(pair)
		if strings.HasPrefix(s, string(open)) && strings.HasSuffix(s, pair[size:]) && len(s) >= len(pair) {
			return true
		}
	}
	return false
}

// short names the secrets of env that are shorter than they should be. What
// is an address, and may hold a secret, is none of them.
func (env *environment) short() []finding {
	var findings []finding
	for _, name := range secretNames() {
		if name == "STORE" || name == "AUDIT_CHECKPOINTS" || name == "EVENTS_WEBHOOK" {
			continue
		}
		if n := utf8.RuneCountInString(secretOf(env, name).Reveal()); n > 0 && n < shortest {
			findings = append(findings, finding{name, fmt.Sprintf(sayShort, shortest)})
		}
	}
	return findings
}
