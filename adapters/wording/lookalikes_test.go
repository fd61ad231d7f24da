package wording_test

import (
	"os"
	"strings"
	"testing"

	"github.com/countersign/countersign/adapters/wording"
)

func TestLookAlikes(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		// of several scripts
		{"Micros\u043eft Corporation", "Micros⟦Cyrillic \u043e⟧ft Corporation"},
		{"Micr\u043es\u043eft", "Micr⟦Cyrillic \u043e⟧s⟦Cyrillic \u043e⟧ft"},
		{"G\u03bf\u03bfgle LLC", "G⟦Greek \u03bf\u03bf⟧gle LLC"},
		{"\u13b7icrosoft", "⟦Cherokee \u13b7⟧icrosoft"},
		{"\u041c\u0456\u0441r\u043es\u043eft", "⟦Cyrillic \u041c\u0456\u0441⟧r⟦Cyrillic \u043e⟧s⟦Cyrillic \u043e⟧ft"}, // most of it is Cyrillic
		{"\u042f\u043d\u0434\u0435\u043ac", "\u042f\u043d\u0434\u0435\u043a⟦Latin c⟧"},
		{"caf\u0435\u0301s", "caf⟦Cyrillic \u0435\u0301⟧s"},
		{`C:\Tools\setup-\u0430dm.exe`, `C:\Tools\setup-\u0430dm.exe`}, // no escape is read
		{"C:\\Tools\\\u0430dmin.exe", "C:\\Tools\\⟦Cyrillic \u0430⟧dmin.exe"},
		{"ACME\\\u0458doe", "ACME\\⟦Cyrillic \u0458⟧doe"},
		{"\u0627\u0644PC", "⟦Arabic \u0627\u0644⟧PC"},
		{"a\u30fc\u0430", "a\u30fc⟦Cyrillic \u0430⟧"},

		// of one script, as a publisher's name
		{"\u0430\u0440\u0440\u04cf\u0435 Inc.", "\u0430\u0440\u0440\u04cf\u0435⟦looks like Apple⟧ Inc."},
		{"\u0421\u0406\u0405\u0421\u041e", "\u0421\u0406\u0405\u0421\u041e⟦looks like Cisco⟧"},
		{"GoogIe", "GoogIe⟦looks like Google⟧"},
		{"Micr0soft", "Micr0soft⟦looks like Microsoft⟧"},
		{"Rnicrosoft", "Rnicrosoft⟦looks like Microsoft⟧"},
		{"\uff2d\uff49\uff43\uff52\uff4f\uff53\uff4f\uff46\uff54", "\uff2d\uff49\uff43\uff52\uff4f\uff53\uff4f\uff46\uff54⟦looks like Microsoft⟧"},
		{"\U0001d400dobe", "\U0001d400dobe⟦looks like Adobe⟧"},
		{"x\u0430\u0440\u0440\u04cf\u0435xxxxxx", "x⟦Cyrillic \u0430\u0440\u0440\u04cf\u0435⟦looks like Apple⟧⟧xxxxxx"},

		// of people who write the mark themselves
		{"Micr0soft⟦looks fine⟧", "Micr0soft⟦looks like Microsoft⟧⟦looks fine⟧"},
		{"Micr0soft⟦…", "Micr0soft⟦looks like Microsoft⟧⟦…"},
		{"⟦Micros\u043eft⟧", "⟦Micros⟦Cyrillic \u043e⟧ft⟧"},
		{"Micros⟦Cyri… and 9 more characters", "Micros⟦Cyri… and 9 more characters"},
	} {
		got := wording.Visible(tt.in)
		if got != tt.want {
			t.Errorf("Visible(%q) = %q, want %q", tt.in, got, tt.want)
		}
		if again := wording.Visible(got); again != got {
			t.Errorf("Visible twice: %q, then %q", got, again)
		}
		if line := wording.Line(tt.in); line != tt.want {
			t.Errorf("Line(%q) = %q, want %q", tt.in, line, tt.want)
		}
		if plain := wording.Unmarked(tt.in); plain != tt.in {
			t.Errorf("Unmarked(%q) = %q", tt.in, plain)
		}
	}
}

func TestCutSplitsNoMark(t *testing.T) {
	for in, want := range map[string]string{
		"install Micros\u043eft Office for me, it is needed": "install Micros… and more than 30 more characters",
		"install GoogIe Chrome for me, it is needed today":   "install GoogIe… and more than 34 more characters",
	} {
		if got := wording.Cut(wording.Line(in), 49); got != want {
			t.Errorf("Cut(Line(%q), 49) = %q, want %q", in, got, want)
		}
	}
}

// TestNoLookAlikes has honest text, of which nothing may be marked.
func TestNoLookAlikes(t *testing.T) {
	for _, s := range []string{
		"Яндекс (Yandex LLC)", "АО «Лаборатория Касперского»", "ООО 1С-Софт", "1С", "7-Zip и Firefox",
		"株式会社ソニー Sony", "ソニー株式会社Sony", "Ｓｏｎｙ", "サーバー管理", "Tシャツ", "東京A棟", "々仝",
		"삼성전자Samsung", "한글漢字", "中文ㄅㄆMandarin", "Καφές", "Ελληνικά Windows",
		"10µm", "10μm", "μTorrent", "µTorrent", "4,7kΩ", "10\u2126", "5Ω", "25\u212a", "5 \u212b",
		"Wireshark®", "Microsoft®", "Google™", "Café", "Cafe\u0301", "Zürich", "Zu\u0308rich", "Łódź", "İstanbul", "ıssız", "Đặng Văn Lâm", "Straße",
		"й и\u0306", "हिन्दी", "ไทย", "עברית", "العَرَبِيَّة", "ქართული", "Հայերեն", "বাংলা ৳",
		"𝒳 = 5", "H₂O", "№ 5", "1st 2ⁿᵈ", "Ⅷ", "ﬁle", "ab①", "l1I0O", "Ill", "m1ll10n", "de11",
		"3f2504e0-4f89-11d3-9a0c-0305e82c3301", "356a192b7913b04c54574d18c28d46e6395428ab",
		"ԱԲ", "👩\U0001f3fd", "❤\ufe0f", "x²", "ªº", "O'Brien", "Ваня's", "setup_установка.exe", `C:\Users\иван\Файлы\a.exe`,
	} {
		if got := wording.Visible(s); got != s {
			t.Errorf("Visible(%q) = %q", s, got)
		}
	}
}

// TestPublishersAreNotMarked shows that no name is taken for its own copy, or
// for another's.
func TestPublishersAreNotMarked(t *testing.T) {
	names, err := os.ReadFile("publishers.txt")
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.FieldsSeq(string(names)) {
		for _, s := range []string{name, strings.ToUpper(name), strings.ToLower(name), name + "® Inc.", "(" + name + ")"} {
			if got := wording.Visible(s); got != s {
				t.Errorf("Visible(%q) = %q", s, got)
			}
		}
	}
}

func FuzzLookAlikes(f *testing.F) {
	f.Add("Micros\u043eft GoogIe⟦looks like Google⟧ x\u0430\u0440\u0440\u04cf\u0435xxxxxx \u0421\u0406\u0405\u0421\u041e⟦looks")
	f.Add("❤\ufe0f\u0430a\u0301\u0301\u0301\u0301\u0301\u0301 a\u30fc\u0430 \u1cd0\u0951b")
	f.Fuzz(func(t *testing.T, s string) {
		got := wording.Visible(s)
		if again := wording.Visible(got); again != got {
			t.Fatalf("Visible(%q) twice: %q, then %q", s, got, again)
		}
		line := wording.Line(s)
		if again := wording.Line(line); again != line {
			t.Fatalf("Line(%q) twice: %q, then %q", s, line, again)
		}
	})
}

func BenchmarkVisible(b *testing.B) {
	for name, s := range map[string]string{
		"ASCII":    strings.Repeat(`C:\Program Files\Microsoft Office\root\Office16\OUTLOOK.EXE /reason "I need it" `, 20),
		"Cyrillic": strings.Repeat("Нужно обновить программу на компьютере, срочно. ", 20),
		"Hostile":  strings.Repeat("Micros\u043eft \u0430\u0440\u0440\u04cf\u0435 ", 50),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(s)))
			for b.Loop() {
				wording.Visible(s)
			}
		})
	}
}
