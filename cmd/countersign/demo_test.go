package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

const (
	demoWait = 20 * time.Second // the longest that a step of a story may take
	demoPoll = 25 * time.Millisecond
)

// startDemo runs the command and returns the page's address. At the end of
// the test it checks that the demo ends and leaves nothing behind.
func startDemo(t *testing.T) string {
	t.Helper()
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	ctx, cancel := context.WithCancel(t.Context())
	var stdout, stderr syncBuffer
	listening := make(chan string, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"demo", "--no-open", "--listen", "127.0.0.1:0"}, process{
			Stdout: &stdout, Stderr: &stderr, Now: time.Now, Listening: func(addr string) { listening <- addr },
		})
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("demo ended with %v", err)
			}
		case <-time.After(grace + demoEnd + 2*time.Second):
			t.Error("demo does not end")
		}
		if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
			t.Errorf("demo left %v behind, %v", left, err)
		}
		if t.Failed() {
			t.Logf("the demo's log:\n%s", stderr.String())
		}
	})
	select {
	case addr := <-listening:
		if want := "Countersign demo: http://" + addr + "/\n"; !strings.HasPrefix(stdout.String(), want) {
			t.Fatalf("demo printed %q, want it to begin with %q", stdout.String(), want)
		}
		return "http://" + addr + "/"
	case err := <-ended:
		ended <- err
		t.Fatalf("demo did not start: %v\n%s", err, stderr.String())
	case <-time.After(demoWait):
		t.Fatal("demo does not start")
	}
	return ""
}

// newBrowser starts a Chromium, or skips the test.
func newBrowser(t *testing.T) context.Context {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		say := "no Chromium was found: the page of the demo is not tested; install chromium"
		if os.Getenv("COUNTERSIGN_TEST_ALL") == "1" {
			t.Fatal(say)
		}
		t.Skip(say)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.Flag("lang", "en-US"))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	alloc, stop := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(alloc)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	return ctx
}

// page is a tab with the demo.
type page struct {
	t   *testing.T
	ctx context.Context

	mu     sync.Mutex
	faults []string // what a page must never do
}

// openPage opens a tab of the given size. At the end of the test it checks
// that the page was quiet and stayed at home.
func openPage(t *testing.T, browser context.Context, address string, width, height int64) *page {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	p := &page{t: t, ctx: ctx}
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("open a tab: %v", err)
	}
	err := chromedp.Listen(ctx, func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			details, _ := json.Marshal(e.ExceptionDetails)
			p.fault("exception: %s", details)
		case *runtime.EventConsoleAPICalled:
			if e.Type != "log" && e.Type != "debug" && e.Type != "info" {
				args, _ := json.Marshal(e.Args)
				p.fault("console: %s", args)
			}
		case *log.EventEntryAdded: // violations of the policy are among these
			if e.Entry.Level == "error" || e.Entry.Level == "warning" {
				p.fault("log: %s %s", e.Entry.Text, e.Entry.URL)
			}
		case *network.EventRequestWillBeSent:
			if u, err := url.Parse(e.Request.URL); err != nil || u.Hostname() != "127.0.0.1" {
				p.fault("request to %s", e.Request.URL)
			}
		case *network.EventWebSocketCreated:
			p.fault("web socket to %s", e.URL)
		}
	})
	if err != nil {
		t.Fatalf("listen to the tab: %v", err)
	}
	for what, err := range map[string]error{
		"network":  call(ctx, network.Enable, network.EnableParams{}),
		"log":      call(ctx, log.Enable, cdp.Empty{}),
		"timezone": call(ctx, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: "UTC"}),
		"colours":  call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "light"}}}),
	} {
		if err != nil {
			t.Fatalf("set up the tab, %s: %v", what, err)
		}
	}
	p.do("open the page", chromedp.EmulateViewport(width, height), chromedp.Navigate(address))
	p.until("the page is live", `document.getElementById("link").textContent === "Live"`)
	t.Cleanup(func() {
		if t.Failed() {
			text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.body.innerText + "\n" + [...document.querySelectorAll("dialog input, dialog textarea")].map((n) => n.dataset.key + "=" + n.value + (n.checked ? " checked" : "")).join("\n")`))
			t.Logf("the page at the end, %v:\n%s", err, text)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, f := range p.faults {
			t.Error(f)
		}
	})
	return p
}

func (p *page) fault(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = append(p.faults, fmt.Sprintf(format, args...))
}

func (p *page) do(what string, actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, demoWait)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		p.t.Fatalf("%s: %v", what, err)
	}
}

// call sends a command of the protocol that answers nothing.
func call[P any](ctx context.Context, cmd cdp.Command[P, cdp.Empty], params P) error {
	_, err := chromedp.Call(ctx, cmd, params)
	return err
}

func eval[T any](p *page, what, expression string) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, demoWait)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		p.t.Fatalf("%s: %v", what, err)
	}
	return v
}

// until waits for a JavaScript expression to be true. The page's policy does
// not let a script be made inside it, so the question is asked from outside.
func (p *page) until(what, expression string) {
	p.t.Helper()
	deadline := time.NewTimer(demoWait)
	defer deadline.Stop()
	poll := time.NewTicker(demoPoll)
	defer poll.Stop()
	for !eval[bool](p, what, "Boolean("+expression+")") {
		select {
		case <-poll.C:
		case <-deadline.C:
			p.t.Fatalf("never so: %s (%s)", what, expression)
		}
	}
}

func (p *page) is(what, expression string) {
	p.t.Helper()
	if !eval[bool](p, what, "Boolean("+expression+")") {
		p.t.Errorf("not so: %s (%s)", what, expression)
	}
}

func (p *page) text(expression string) string {
	p.t.Helper()
	return eval[string](p, "read", "String("+expression+")")
}

// click presses with the mouse what an XPath or a selector finds. Bars that
// stay at the edges of a narrow screen may be over it: it is moved away from
// them first, as a person does.
func (p *page) click(what string) {
	p.t.Helper()
	find, press := fmt.Sprintf("document.querySelector(%q)", what), chromedp.Click(chromedp.CSS(what))
	if strings.ContainsAny(what[:1], "/(") {
		find = fmt.Sprintf("document.evaluate(%q, document, null, XPathResult.FIRST_ORDERED_NODE_TYPE, null).singleNodeValue", what)
		press = chromedp.Click(what)
	}
	for try := 1; ; try++ {
		p.until(what+" is there", find)
		eval[bool](p, "scroll to "+what, `((n) => { n?.scrollIntoView({block: "center", behavior: "instant"}); return true; })(`+find+`)`)
		ctx, cancel := context.WithTimeout(p.ctx, demoWait)
		err := chromedp.Do(ctx, press)
		cancel()
		switch {
		case err == nil:
			return
		case try == 5 || !strings.Contains(err.Error(), "Could not find node"): // a message was edited between looking and pressing
			p.t.Fatalf("click %s: %v", what, err)
		}
	}
}

// fill types text over what is in a field.
func (p *page) fill(selector, text string) {
	p.t.Helper()
	p.until(selector+" is there", fmt.Sprintf(`document.querySelector(%q)`, selector))
	eval[bool](p, "select "+selector, fmt.Sprintf(`(f => { f.focus(); f.select(); return true; })(document.querySelector(%q))`, selector))
	p.do("fill "+selector, chromedp.KeyEvent(text))
}

func (p *page) press(keys ...string) {
	p.t.Helper()
	for _, k := range keys {
		p.do("press "+k, chromedp.KeyEvent(k))
	}
}

// tabTo presses the tab key until the focus is where the expression, about
// the focused element f, is true.
func (p *page) tabTo(what, expression string) {
	p.t.Helper()
	for range 60 {
		if eval[bool](p, "look at the focus", `(f => Boolean(`+expression+`))(document.activeElement)`) {
			p.is("the focus on "+what+" can be seen", `document.activeElement.matches(":focus-visible")`)
			return
		}
		p.press(kb.Tab)
	}
	p.t.Fatalf("the tab key does not lead to %s", what)
}

// request asks for a program and waits for its card.
func (p *page) request(program string) {
	p.t.Helper()
	p.do("choose the program", chromedp.SetValue(chromedp.CSS("#program"), program))
	eval[bool](p, "choose the program", `document.getElementById("program").dispatchEvent(new Event("change"))`)
	before := eval[int](p, "count cards", `document.querySelectorAll(".track").length`)
	p.click("#request")
	p.until("the card is there", fmt.Sprintf(`document.querySelectorAll(".track").length > %d`, before))
	// What cards say from now on is kept in order.
	eval[bool](p, "watch cards", `window.tracks ||= (() => {
		const said = [];
		const look = () => { const t = [...document.querySelectorAll(".track")].pop(); const s = t && t.getAttribute("aria-label"); if (s && s !== said.at(-1)) said.push(s); };
		new MutationObserver(look).observe(document.getElementById("messages"), {childList: true, subtree: true});
		look();
		return said;
	})(); true`)
}

func (p *page) become(name string) {
	p.t.Helper()
	p.click(`//fieldset[@id="people"]//label[contains(., "` + name + `")]`)
}

// button is a button of the newest card.
func button(label string) string {
	return `(//article[not(contains(@class, "mine"))])[last()]//button[.="` + label + `"]`
}

const (
	confirmed = `[...document.querySelectorAll(".track")].pop()?.getAttribute("aria-label") === "Progress: Confirmed, step 4 of 4"`
	formOpen  = `document.getElementById("dialog").open`
)

func problem(field string) string {
	return `((f) => f?.getAttribute("aria-invalid") === "true" ? f.getAttribute("aria-describedby").split(" ").map((i) => document.getElementById(i)).filter((n) => !n.hidden).map((n) => n.textContent).join(" ") : "")` +
		`(document.querySelector('[data-key="in ` + field + `"]'))`
}

func TestDemoPage(t *testing.T) {
	browser := newBrowser(t)

	t.Run("ApproveForTwoHours", func(t *testing.T) {
		p := openPage(t, browser, startDemo(t), 1280, 900)
		p.request("wireshark")
		p.click(button("Approve"))
		p.until("the form is open", formOpen)
		p.is("the reason has the focus", `document.activeElement.dataset.key === "in reason"`)
		p.do("type a reason", chromedp.KeyEvent("Known ticket of the network team"))
		p.click(`//dialog//label[starts-with(., "Hours")]`)
		p.until("an amount is asked for", `document.querySelector('[data-key="in amount"]')`)
		p.is("what was typed is still there", `document.querySelector('[data-key="in reason"]').value === "Known ticket of the network team"`)
		p.is("hours are chosen and have the focus", `document.activeElement.value === "hours" && document.activeElement.checked`)

		p.click(`dialog button[type="submit"]`)
		p.until("a missing amount is complained about", problem("amount"))
		p.is("and has the focus", `document.activeElement.dataset.key === "in amount"`)
		p.fill(`[data-key="in amount"]`, "99")
		p.click(`dialog button[type="submit"]`)
		p.until("an amount of 99 is refused", problem("amount")+`.includes("Enter a number between 1 and 24")`)
		p.fill(`[data-key="in amount"]`, "2")
		p.fill(`[data-key="in reason"]`, "   ")
		p.click(`dialog button[type="submit"]`)
		p.until("a reason of spaces is refused", problem("reason")+`.includes("Please enter a reason")`)
		p.fill(`[data-key="in reason"]`, "Known ticket of the network team")
		p.click(`dialog button[type="submit"]`)
		p.until("the form is closed", `!`+formOpen)
		p.until("EPM has confirmed", confirmed)

		// A busy machine may edit the card from sending to confirmed at once;
		// nothing may come twice or in another order.
		got := p.text(`window.tracks.map((s) => s.split(" ")[1].replace(",", "")).join(" ")`)
		if got != "Pending Sending Submitted Confirmed" && got != "Pending Sending Confirmed" {
			t.Errorf("the card said %q, want Pending Sending Submitted Confirmed", got)
		}
		p.until("the thread tells each step", `((s) => s.includes("sending to EPM") && s.includes("EPM accepted the decision") && s.includes("Confirmed by EPM"))(document.querySelector(".thread")?.textContent || "")`)
		p.is("nobody can decide any more", `![...document.querySelectorAll("article button")].some((b) => ["Approve", "Deny"].includes(b.textContent))`)
		p.until("EPM says the same", `(s => s.includes("Approved") && s.includes("for 2 h") && s.includes("left"))(document.querySelector("#requests li").innerText)`)
		p.until("it is read out", `document.getElementById("live").textContent.includes("Confirmed by EPM")`)
	})

	t.Run("Deny", func(t *testing.T) {
		p := openPage(t, browser, startDemo(t), 1280, 900)
		p.become("Grace Approver") // by her group
		p.request("converter")
		p.click(button("Deny"))
		p.until("the form is open", formOpen)
		p.is("no duration is asked for", `!document.querySelector('dialog input[type="radio"]')`)
		p.fill(`[data-key="in reason"]`, "Not signed; use the packaged one")
		p.click(`dialog button[type="submit"]`)
		p.until("EPM has confirmed", confirmed)
		p.is("the card says denied", `document.querySelector("article .header").textContent.includes("denied")`)
		p.until("EPM says the same", `document.querySelector("#requests .chip").textContent === "Denied"`)
	})

	t.Run("AdminAccessOnceFromTheDetails", func(t *testing.T) {
		p := openPage(t, browser, startDemo(t), 1280, 900)
		p.click(`//label[contains(., "Admin access")]`)
		p.click("#request")
		p.until("the card is there", `document.querySelector(".track")`)
		p.click(button("Details"))
		p.until("the details are open", formOpen+` && document.querySelector("dialog").innerText.includes("jdoe")`)
		p.press(kb.Escape)
		p.until("they are closed", `!`+formOpen)
		p.is("the focus is back on the button", `document.activeElement.textContent === "Details"`)
		p.click(button("Approve"))
		p.until("the form is open", formOpen)
		p.fill(`[data-key="in reason"]`, "Seen on site")
		p.click(`//dialog//label[.="Once"]`)
		p.until("no amount is asked for", `!document.querySelector('[data-key="in amount"]')`)
		p.click(`dialog button[type="submit"]`)
		p.until("EPM has confirmed", confirmed)
	})

	t.Run("NotAnApprover", func(t *testing.T) {
		p := openPage(t, browser, startDemo(t), 1280, 900)
		p.request("regedit")
		p.become("Sam Stranger")
		p.click(button("Approve"))
		p.until("Sam is told why not", `document.querySelector("article.mine")?.innerText.includes("you are not one of the approvers")`)
		p.is("no form", `!`+formOpen)
		p.become("Ann Approver")
		p.is("nobody else sees it", `!document.querySelector("article.mine")`)
		p.is("the request still waits", `document.querySelector(".track").getAttribute("aria-label").startsWith("Progress: Pending")`)
	})

	t.Run("KeyboardOnly", func(t *testing.T) {
		p := openPage(t, browser, startDemo(t), 1280, 900)
		p.tabTo("the request button", `f.id === "request"`)
		p.press(kb.Enter)
		p.until("the card is there", `document.querySelector(".track")`)
		p.tabTo("Approve", `f.textContent === "Approve"`)
		p.press(kb.Enter)
		p.until("the form is open", formOpen)
		p.do("type a reason", chromedp.KeyEvent("By keyboard"))
		p.tabTo("the duration", `f.type === "radio"`)
		p.press(kb.ArrowDown) // minutes
		p.until("minutes are asked for", `document.querySelector('[data-key="in amount"]')`)
		p.press(kb.ArrowDown)
		p.until("hours are asked for", `document.querySelector("dialog").innerText.includes("How many hours")`)
		p.tabTo("the amount", `f.dataset.key === "in amount"`)
		p.press("2", kb.Enter)
		p.until("the form is closed", `!`+formOpen)
		p.is("the focus is at the card", `document.querySelector("article").contains(document.activeElement)`)
		p.until("EPM has confirmed", confirmed)
		p.until("EPM says the same", `document.querySelector("#requests li").innerText.includes("for 2 h")`)
		p.tabTo("the command", `f.id === "command-text"`)
		p.do("write a command", chromedp.KeyEvent("status"), chromedp.KeyEvent(kb.Enter))
		p.until("the bot answers", `document.querySelector("article.mine")?.innerText.includes("Waiting for a decision: 0")`)
	})

	t.Run("EPMFailsRefusesAndDecides", func(t *testing.T) {
		p := openPage(t, browser, startDemo(t), 1280, 900)
		approve := func() {
			p.click(button("Approve"))
			p.until("the form is open", formOpen)
			p.fill(`[data-key="in reason"]`, "Fine")
			p.click(`//dialog//label[.="Once"]`)
			p.click(`dialog button[type="submit"]`)
			p.until("the form is closed", `!`+formOpen)
		}
		p.request("wireshark")
		p.click(`//fieldset[@id="modes"]//label[.="Refusing"]`)
		p.until("EPM refuses", `document.querySelector("#mode-about").textContent.includes("refused")`)
		approve()
		p.until("the card says so", `document.querySelector(".track").getAttribute("aria-label").includes("Refused by EPM")`)

		p.click(`//fieldset[@id="modes"]//label[.="Failing"]`)
		p.until("EPM fails", `document.querySelector("#mode-about").textContent.includes("503")`)
		approve()
		p.until("the card says so", `document.querySelector(".track").getAttribute("aria-label").includes("Sending again")`)
		p.click(`//fieldset[@id="modes"]//label[.="Normal"]`)
		p.until("EPM has confirmed", confirmed)

		p.request("printer")
		p.click(`//ul[@id="requests"]//summary`)
		p.click(`//ul[@id="requests"]//button[.="Deny"]`)
		p.until("the card says so", `[...document.querySelectorAll(".track")].pop().getAttribute("aria-label").includes("Decided in EPM")`)
	})

	t.Run("HostileRequest", func(t *testing.T) {
		p := openPage(t, browser, startDemo(t), 1280, 900)
		p.request("hostile")
		p.is("tags are text", `document.querySelector(".card").textContent.includes("<img src=x onerror=")`)
		p.is("no tags came of them", `!document.querySelector(".card img, .card script, .card a")`)
		p.is("nobody is mentioned", `!document.querySelector(".card .mention")`)
		p.is("the reason is not bold", `![...document.querySelectorAll(".card strong")].some((n) => n.textContent.includes("Approved"))`)
		p.is("nothing turns text around", `!/[\u202a-\u202e\u2066-\u2069]/.test(document.body.textContent)`)
		p.click(button("Details"))
		p.until("the details are open", formOpen)
		p.is("tags are text", `document.querySelector("dialog").textContent.includes("<script>document.title")`)
		p.is("no tags came of them", `!document.querySelector("dialog img, dialog script")`)
		p.press(kb.Escape)
		p.until("they are closed", `!`+formOpen)
		p.click(`//button[.="Show the JSON"]`)
		p.until("the JSON is there", `document.querySelector("pre.json:not([hidden])")?.textContent.includes('"type": "header"')`)
		p.is("no script ran", `document.title === "Countersign demo"`)
	})

	t.Run("NarrowScreen", func(t *testing.T) {
		p := openPage(t, browser, startDemo(t), 360, 740)
		fits := func(where string) {
			t.Helper()
			p.is(where+" fits", `document.documentElement.scrollWidth <= innerWidth`)
			if wide := p.text(`[...document.querySelectorAll("body *")].filter((n) => n.checkVisibility() && !n.closest(".unseen, svg") && n.getBoundingClientRect().right > innerWidth + 1).map((n) => n.tagName + "." + n.className).join(" ")`); wide != "" {
				t.Errorf("%s: wider than the screen: %s", where, wide)
			}
		}
		p.request("hostile")
		fits("the endpoint")
		p.is("the channel tells that something came", `!document.getElementById("badge").hidden`)
		p.click(`#go-channel`)
		fits("the channel")
		p.click(button("Approve"))
		p.until("the form is open", formOpen)
		fits("the form")
		p.is("the form does not scroll sideways", `(d => d.scrollWidth <= d.clientWidth)(document.querySelector(".view-body"))`)
		p.is("its buttons can be seen", `document.querySelector("dialog button[type=submit]").getBoundingClientRect().bottom <= innerHeight`)
		p.click(`dialog [data-key="close"]`)
		p.until("the form is closed", `!`+formOpen)
		p.click(button("Details"))
		p.until("the details are open", formOpen)
		fits("the details")
		p.press(kb.Escape)
		p.until("the details are closed", `!`+formOpen)
		p.click(`//button[.="Show the JSON"]`)
		fits("the JSON")
		p.is("only the channel is shown", `!document.getElementById("endpoint").checkVisibility()`)
	})

	t.Run("TwoPeopleAtOnce", func(t *testing.T) {
		address := startDemo(t)
		ann, grace := openPage(t, browser, address, 1280, 900), openPage(t, browser, address, 1280, 900)
		grace.become("Grace Approver")
		ann.request("wireshark")
		for _, p := range []*page{ann, grace} {
			p.click(button("Approve"))
			p.until("the form is open", formOpen)
			p.click(`//dialog//label[.="Once"]`)
			p.fill(`[data-key="in reason"]`, "Fine")
		}
		ann.click(`dialog button[type="submit"]`)
		ann.until("Ann's form is closed", `!`+formOpen)
		grace.is("Grace's text is still there", `document.querySelector('[data-key="in reason"]').value === "Fine"`)
		grace.click(`dialog button[type="submit"]`)
		grace.until("Grace is told who was faster", `document.body.innerText.includes("already approved this request")`)
		ann.until("EPM has confirmed", confirmed)
	})
}

// TestDemoScreenshot makes the picture of the README, when it is asked to.
func TestDemoScreenshot(t *testing.T) {
	if os.Getenv("COUNTERSIGN_UPDATE_SCREENSHOT") != "1" {
		t.Skip("COUNTERSIGN_UPDATE_SCREENSHOT=1 makes docs/demo.png again")
	}
	p := openPage(t, newBrowser(t), startDemo(t), 1280, 900)
	p.request("wireshark")
	p.click(button("Approve"))
	p.until("the form is open", formOpen)
	p.fill(`[data-key="in reason"]`, "Known problem, ticket NET-211")
	p.click(`//dialog//label[starts-with(., "Hours")]`)
	p.until("an amount is asked for", `document.querySelector('[data-key="in amount"]')`)
	p.fill(`[data-key="in amount"]`, "2")
	p.click(`dialog button[type="submit"]`)
	p.until("EPM has confirmed", confirmed)
	p.click(`//label[contains(., "Admin access")]`)
	p.click("#request")
	p.until("the second card is there", `document.querySelectorAll(".track").length === 2`)
	picture, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		t.Fatalf("take the picture: %v", err)
	}
	path := filepath.Join("..", "..", "docs", "demo.png")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, picture, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestDemoKeepsOtherSitesAway(t *testing.T) {
	address := startDemo(t)
	type attempt struct {
		method, path, body string
		header             map[string]string
	}
	ask := func(c attempt) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), c.method, strings.TrimSuffix(address, "/")+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range c.header {
			if k == "Host" {
				r.Host = v
				continue
			}
			r.Header.Set(k, v)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		if got := res.Header.Get("Content-Security-Policy"); got != demoPolicy {
			t.Errorf("%s %s: policy %q", c.method, c.path, got)
		}
		return res.StatusCode, string(body)
	}
	for name, tt := range map[string]struct {
		attempt
		want int
	}{
		"ThePage":             {attempt{"GET", "/", "", nil}, 200},
		"ByTheUsualName":      {attempt{"GET", "/", "", map[string]string{"Host": "localhost:8080"}}, 200},
		"ReboundName":         {attempt{"GET", "/", "", map[string]string{"Host": "evil.example"}}, 421},
		"OtherOrigin":         {attempt{"POST", "/api/epm/mode", `{"mode":"slow"}`, map[string]string{"Content-Type": "application/json", "Origin": "https://evil.example"}}, 403},
		"OtherSite":           {attempt{"POST", "/api/epm/mode", `{"mode":"slow"}`, map[string]string{"Content-Type": "application/json", "Sec-Fetch-Site": "cross-site"}}, 403},
		"AForm":               {attempt{"POST", "/api/epm/mode", `{"mode":"slow"}`, map[string]string{"Content-Type": "text/plain"}}, 415},
		"NotJSON":             {attempt{"POST", "/api/epm/mode", `mode=slow`, map[string]string{"Content-Type": "application/json"}}, 400},
		"UnknownField":        {attempt{"POST", "/api/epm/mode", `{"x":1}`, map[string]string{"Content-Type": "application/json"}}, 400},
		"TooLong":             {attempt{"POST", "/api/epm/mode", strings.Repeat(" ", demoBody+1), map[string]string{"Content-Type": "application/json"}}, 413},
		"NoSuchMode":          {attempt{"POST", "/api/epm/mode", `{"mode":"x"}`, map[string]string{"Content-Type": "application/json"}}, 422},
		"NoSuchPerson":        {attempt{"POST", "/api/slack/command", `{"person":"U0BOT","text":"help"}`, map[string]string{"Content-Type": "application/json"}}, 422},
		"NoSuchButton":        {attempt{"POST", "/api/slack/click", `{"person":"U01ANN","channel":"C01EPM","ts":"1.2","action_id":"approve"}`, map[string]string{"Content-Type": "application/json"}}, 422},
		"NoForm":              {attempt{"POST", "/api/slack/submit", `{"person":"U01ANN","view":"V1"}`, map[string]string{"Content-Type": "application/json"}}, 422},
		"ModeFromTheSamePage": {attempt{"POST", "/api/epm/mode", `{"mode":"slow"}`, map[string]string{"Content-Type": "application/json", "Sec-Fetch-Site": "same-origin"}}, 200},
	} {
		t.Run(name, func(t *testing.T) {
			if got, body := ask(tt.attempt); got != tt.want {
				t.Errorf("%s %s = %d %s, want %d", tt.method, tt.path, got, body, tt.want)
			}
		})
	}
}

func TestDemoListen(t *testing.T) {
	taken, err := demoListener(t.Context(), "127.0.0.1:0", io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	for name, tt := range map[string]struct{ address, want string }{
		"TakenPort":     {taken.Addr().String(), "choose another port"},
		"EveryNetwork":  {":8080", "whole network"},
		"NoPort":        {"127.0.0.1", "an address and a port"},
		"NotAnArgument": {"", "an address and a port"},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := demoListener(t.Context(), tt.address, io.Discard)
			if err == nil {
				_ = l.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("demoListener(%q) = %v, want %q", tt.address, err, tt.want)
			}
		})
	}
	t.Run("OpenToOthersIsWarnedOf", func(t *testing.T) {
		var warnings bytes.Buffer
		l, err := demoListener(t.Context(), "0.0.0.0:0", &warnings)
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
		if !strings.Contains(warnings.String(), "anyone who can reach") {
			t.Errorf("warned with %q", warnings.String())
		}
	})
	t.Run("UnknownArgument", func(t *testing.T) {
		var stderr bytes.Buffer
		err := run(t.Context(), []string{"demo", "--port", "1"}, process{Stdout: io.Discard, Stderr: &stderr, Now: time.Now})
		if err == nil || errors.Is(err, context.Canceled) || !strings.Contains(stderr.String(), "-listen") {
			t.Errorf("run(demo --port 1) = %v, with %q", err, stderr.String())
		}
	})
}
