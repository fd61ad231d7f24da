// Package browser has people use the demo in a real browser.
package browser

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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

	"github.com/countersign/countersign/adapters/wording"
)

const (
	// demoWait bounds each wait: it ends what hangs, and is far above what a
	// busy machine needs.
	demoWait = 2 * time.Minute
	demoPoll = 25 * time.Millisecond

	pictureWidth = 900 // pixels of a report's picture, as cmd/countersign draws it
)

// demoAddress is what the demo prints first.
var demoAddress = regexp.MustCompile(`^Countersign demo: (http://127\.0\.0\.1:\d+/)\n$`)

// build makes the program once for all tests.
var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "countersign-browser-")
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "countersign")
	args := []string{"build", "-o", binary}
	if raced {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "./cmd/countersign")...)
	cmd.Dir = "../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return binary, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if binary, err := build(); err == nil {
		_ = os.RemoveAll(filepath.Dir(binary))
	}
	os.Exit(code)
}

// startDemo runs the command and returns the page's address. At the end of
// the test it checks that the demo ends and leaves nothing behind.
func startDemo(t *testing.T) string {
	t.Helper()
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	tmp := t.TempDir()
	cmd := exec.Command(binary, "demo", "--no-open", "--listen", "127.0.0.1:0")
	var stderr bytes.Buffer
	cmd.Env, cmd.Stderr, cmd.SysProcAttr = append(os.Environ(), "TMPDIR="+tmp), &stderr, endWithUs()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	first, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		out := bufio.NewReader(stdout)
		line, _ := out.ReadString('\n')
		first <- line
		_, _ = io.Copy(io.Discard, out)
		ended <- cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("demo ended with %v", err)
			}
		case <-time.After(demoWait):
			t.Error("demo does not end")
			_ = cmd.Process.Kill()
			<-ended
		}
		if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
			t.Errorf("demo left %v behind, %v", left, err)
		}
		if t.Failed() {
			t.Logf("the demo's log:\n%s", stderr.String())
		}
	})
	select {
	case line := <-first:
		m := demoAddress.FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("demo printed %q, want its address first", line)
		}
		return m[1]
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
		// What is pressed moves when a message is edited at that moment: then the
		// mouse meets something else, and a person presses again.
		eval[bool](p, "listen", `(() => { window.met = false; addEventListener("click", (e) => { window.met ||= Boolean((`+find+`)?.contains(e.target)); }, {capture: true, once: true}); return true; })()`)
		ctx, cancel := context.WithTimeout(p.ctx, demoWait)
		err := chromedp.Do(ctx, press)
		cancel()
		switch {
		case err == nil && (try == 5 || eval[bool](p, "was it met", `window.met !== false`)):
			return
		case err == nil:
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
	// Both in one look: the page may be drawn again between two.
	there := `(f => Boolean(` + expression + `) && f.matches(":focus-visible"))(document.activeElement)`
	for range 60 {
		if eval[bool](p, "look at the focus", there) {
			return
		}
		p.press(kb.Tab)
	}
	p.t.Fatalf("the tab key does not lead to %s, or the focus on it cannot be seen", what)
}

// request asks for a program and waits for its card.
func (p *page) request(program string) {
	p.t.Helper()
	p.do("choose the program", chromedp.SetValue(chromedp.CSS("#program"), program))
	eval[bool](p, "choose the program", `document.getElementById("program").dispatchEvent(new Event("change"))`)
	before := map[pane]int{}
	for _, c := range []pane{inSlack, inDiscord} {
		before[c] = eval[int](p, "count cards", c.all(".track")+".length")
	}
	p.click("#request")
	for c, n := range before {
		p.until("the card is there", fmt.Sprintf(`%s.length > %d`, c.all(".track"), n))
	}
	// What cards say from now on is kept in order.
	eval[bool](p, "watch cards", `window.tracks ||= (() => {
		const said = [];
		const look = () => { const t = [...document.querySelectorAll("#slack .track")].pop(); const s = t && t.getAttribute("aria-label"); if (s && s !== said.at(-1)) said.push(s); };
		new MutationObserver(look).observe(document.getElementById("slack-messages"), {childList: true, subtree: true});
		look();
		return said;
	})(); true`)
}

// choose chooses from the menu of the newest card.
func (p *page) choose(c pane, label string) {
	p.t.Helper()
	p.is("the menu has "+label, fmt.Sprintf(`((m) => {
		const option = [...m.options].find((o) => o.textContent === %q);
		if (option) { m.value = option.value; m.dispatchEvent(new Event("change")); }
		return Boolean(option);
	})(%s.pop())`, label, c.all("article:not(.mine) .menu")))
}

func (p *page) become(name string) {
	p.t.Helper()
	p.click(`//fieldset[@id="people"]//label[contains(., "` + name + `")]`)
}

// pane is one of the chats on the page.
type pane string

const (
	inSlack   pane = "slack"
	inDiscord pane = "discord"
)

// all finds every node of the pane.
func (c pane) all(selector string) string {
	return fmt.Sprintf(`[...document.querySelectorAll("#%s %s")]`, c, selector)
}

// button is a button of the newest card.
func (c pane) button(label string) string {
	return fmt.Sprintf(`(//section[@id="%s"]//article[not(contains(@class, "mine"))])[last()]//button[.="%s"]`, c, label)
}

// whisper is a button of the newest message that only this person sees.
func (c pane) whisper(label string) string {
	return fmt.Sprintf(`(//section[@id="%s"]//article[contains(@class, "mine")])[last()]//button[.="%s"]`, c, label)
}

// offers is a condition: the newest card has these buttons, and its menu says
// this while it is closed.
func (c pane) offers(menu string, labels ...string) string {
	return fmt.Sprintf(`((m) => m && m.options[0].textContent === %q && [...m.closest("article").querySelectorAll(".actions button")].map((b) => b.textContent).join(" ") === %q)(%s.pop())`,
		menu, strings.Join(labels, " "), c.all("article:not(.mine) .menu"))
}

// told is what the newest message that only this person sees says.
func (c pane) told() string { return `(` + c.all("article.mine") + `.pop()?.innerText || "")` }

// form is a selector inside the open form; at, one of a label in it.
func (c pane) form(selector string) string { return fmt.Sprintf("#%s-dialog %s", c, selector) }

func (c pane) label(condition string) string {
	return fmt.Sprintf(`//dialog[@id="%s-dialog"]//label[%s]`, c, condition)
}

func (c pane) submit() string { return c.form(`button[type="submit"]`) }

func (c pane) formOpen() string { return fmt.Sprintf(`document.getElementById("%s-dialog").open`, c) }

// progress is how far the newest card says it is.
func (c pane) progress() string {
	return `(` + c.all(".track") + `.pop()?.getAttribute("aria-label") || "")`
}

func (c pane) confirmed() string { return c.progress() + ` === "Progress: Confirmed, step 4 of 4"` }

func problem(field string) string {
	return `((f) => f?.getAttribute("aria-invalid") === "true" ? f.getAttribute("aria-describedby").split(" ").map((i) => document.getElementById(i)).filter((n) => !n.hidden).map((n) => n.textContent).join(" ") : "")` +
		`(document.querySelector('#slack-dialog [data-key="in ` + field + `"]'))`
}

func TestDemoPage(t *testing.T) {
	browser := newBrowser(t)

	t.Run("ApproveForTwoHours", func(t *testing.T) {
		p := openPage(t, browser, startDemo(t), 1280, 900)
		p.request("wireshark")
		p.click(inSlack.button("Approve"))
		p.until("the form is open", inSlack.formOpen())
		p.is("the reason has the focus", `document.activeElement.dataset.key === "in reason"`)
		p.do("type a reason", chromedp.KeyEvent("Known ticket of the network team"))
		p.click(inSlack.label(`starts-with(., "Hours")`))
		p.until("an amount is asked for", `document.querySelector('[data-key="in amount"]')`)
		p.is("what was typed is still there", `document.querySelector('[data-key="in reason"]').value === "Known ticket of the network team"`)
		p.is("hours are chosen and have the focus", `document.activeElement.value === "hours" && document.activeElement.checked`)

		p.click(inSlack.submit())
		p.until("a missing amount is complained about", problem("amount"))
		p.is("and has the focus", `document.activeElement.dataset.key === "in amount"`)
		p.fill(inSlack.form(`[data-key="in amount"]`), "99")
		p.click(inSlack.submit())
		p.until("an amount of 99 is refused", problem("amount")+`.includes("Enter a number between 1 and 24")`)
		p.fill(inSlack.form(`[data-key="in amount"]`), "2")
		p.fill(inSlack.form(`[data-key="in reason"]`), "   ")
		p.click(inSlack.submit())
		p.until("a reason of spaces is refused", problem("reason")+`.includes("Please enter a reason")`)
		p.fill(inSlack.form(`[data-key="in reason"]`), "Known ticket of the network team")
		p.click(inSlack.submit())
		p.until("the form is closed", `!`+inSlack.formOpen())
		p.until("EPM has confirmed", inSlack.confirmed())

		// A busy machine may edit the card from sending to confirmed at once;
		// nothing may come twice or in another order.
		got := p.text(`window.tracks.map((s) => s.split(" ")[1].replace(",", "")).join(" ")`)
		if got != "Pending Sending Submitted Confirmed" && got != "Pending Sending Confirmed" {
			t.Errorf("the card said %q, want Pending Sending Submitted Confirmed", got)
		}
		p.until("the thread tells each step", `((s) => s.includes("sending to EPM") && s.includes("EPM accepted the decision") && s.includes("Confirmed by EPM"))(document.querySelector("#slack .thread")?.textContent || "")`)
		p.is("nobody can decide any more", `![...document.querySelectorAll(".chat article button")].some((b) => ["Approve", "Deny"].includes(b.textContent))`)
		p.until("EPM says the same", `(s => s.includes("Approved") && s.includes("for 2 h") && s.includes("left"))(document.querySelector("#requests li").innerText)`)
		p.until("it is read out", `document.getElementById("live").textContent.includes("Confirmed by EPM")`)
	})

	t.Run("Deny", func(t *testing.T) {
		p := openPage(t, browser, startDemo(t), 1280, 900)
		p.become("Grace Approver") // by her group
		p.request("converter")
		p.click(inSlack.button("Deny"))
		p.until("the form is open", inSlack.formOpen())
		p.is("no duration is asked for", `!document.querySelector('#slack-dialog input[type="radio"]')`)
		p.fill(inSlack.form(`[data-key="in reason"]`), "Not signed; use the packaged one")
		p.click(inSlack.submit())
		p.until("EPM has confirmed", inSlack.confirmed())
		p.is("the card says denied", `document.querySelector("#slack article .header").textContent.includes("denied")`)
		p.until("Discord shows it too", inDiscord.confirmed())
		p.is("and who it was", `document.querySelector("#discord .container").innerText.includes("denied · decided by grace (Slack)")`)
		p.is("and that it was edited", inDiscord.all(".edited")+`[0].textContent === "(edited)"`)
		p.is("it was not asked for in Discord", `!(`+inDiscord.told()+`)`)
		p.until("EPM says the same", `document.querySelector("#requests .chip").textContent === "Denied"`)
	})

	t.Run("AdminAccessOnceFromTheDetails", func(t *testing.T) {
		p := openPage(t, browser, startDemo(t), 1280, 900)
		p.click(`//label[contains(., "Admin access")]`)
		p.click("#request")
		p.until("the card is there", `document.querySelector(".track")`)
		p.click(inSlack.button("Details"))
		p.until("the details are open", inSlack.formOpen()+` && document.querySelector("#slack-dialog").innerText.includes("jdoe")`)
		p.press(kb.Escape)
		p.until("they are closed", `!`+inSlack.formOpen())
		p.is("the focus is back on the button", `document.activeElement.textContent === "Details"`)
		p.click(inSlack.button("Approve"))
		p.until("the form is open", inSlack.formOpen())
		p.fill(inSlack.form(`[data-key="in reason"]`), "Seen on site")
		p.click(inSlack.label(`.="Once"`))
		p.until("no amount is asked for", `!document.querySelector('[data-key="in amount"]')`)
		p.click(inSlack.submit())
		p.until("EPM has confirmed", inSlack.confirmed())
	})

	t.Run("DecideOnTheHomeTab", func(t *testing.T) {
		p := openPage(t, browser, startDemo(t), 1280, 900)
		p.request("converter")
		p.request("wireshark")
		button := func(number, label string) string {
			return fmt.Sprintf(`//*[@id="slack-home"]//button[starts-with(@aria-label, "%s %s:")]`, label, number)
		}
		const says = `document.getElementById("slack-home").innerText`
		p.click("#slack-home-tab")
		p.until("both wait for Ann", says+`.includes("2 requests wait for a decision")`)
		p.is("she reads how it all is", says+`.includes("Every connection works.")`)
		p.is("the channel is hidden", `document.getElementById("slack-scroll").hidden`)
		p.become("Sam Stranger")
		p.until("nothing waits for Sam", says+`.includes("you are not one of the approvers") && !`+says+`.includes("JIT-")`)
		p.become("Grace Approver")
		p.until("both wait for Grace", says+`.includes("2 requests wait for a decision") && !`+says+`.includes("Every connection")`)
		p.click(button("JIT-1002", "Deny"))
		p.until("the form is open", inSlack.formOpen()+` && document.querySelector("#slack-dialog").innerText.includes("JIT-1002")`)
		p.fill(inSlack.form(`[data-key="in reason"]`), "Use the packaged one")
		p.click(inSlack.submit())
		p.until("one is left", says+`.includes("1 request waits for a decision") && !`+says+`.includes("JIT-1002")`)
		p.click("#slack-channel-tab")
		p.until("EPM has confirmed", inSlack.confirmed())
		p.is("the tab is gone", `document.getElementById("slack-home").hidden`)
	})

	t.Run("MoveByTheMenu", func(t *testing.T) {
		p := openPage(t, browser, startDemo(t), 1280, 900)
		p.request("wireshark")
		shown := func(what, menu string, labels ...string) {
			t.Helper()
			for _, c := range []pane{inSlack, inDiscord} {
				p.until(what+" in "+string(c), c.offers(menu, labels...))
			}
		}
		shown("a menu", "State: New", "Approve", "Deny", "Details")
		p.choose(inSlack, "Resolved")
		shown("the buttons are gone", "State: Resolved", "Details")
		p.choose(inDiscord, "In Progress")
		shown("the buttons are back", "State: In Progress", "Approve", "Deny", "Details")
		p.become("Sam Stranger")
		for _, c := range []pane{inSlack, inDiscord} {
			p.choose(c, "Closed")
			p.until("Sam is refused in "+string(c), c.told()+`.includes("Only an admin of Countersign can do that")`)
		}
		shown("nothing was moved", "State: In Progress", "Approve", "Deny", "Details")
	})

	t.Run("ApproveInDiscord", func(t *testing.T) {
		p := openPage(t, browser, startDemo(t), 1280, 900)
		p.request("wireshark")
		p.is("the card has its colour", `getComputedStyle(document.querySelector("#discord .container")).borderLeftColor === "rgb(250, 166, 26)"`)
		p.click(inDiscord.button("Approve"))
		p.until("the form is open", inDiscord.formOpen())
		p.is("the reason has the focus", `document.activeElement.dataset.key === "in reason"`)
		p.is("it says what is decided", `document.querySelector("#discord-dialog .md").textContent.includes("Wireshark 4.4.2")`)
		p.click(inDiscord.submit())
		p.until("Discord itself asks for a reason", `document.querySelector("#discord-dialog .error:not([hidden])")?.textContent.includes("This field is required")`)
		p.do("type a reason", chromedp.KeyEvent("Known ticket of the network team"))
		p.click(inDiscord.label(`starts-with(., "Hours")`))
		p.fill(inDiscord.form(`[data-key="in amount"]`), "99")
		p.click(inDiscord.submit())
		p.until("an amount of 99 is refused, in words", inDiscord.told()+`.includes("⚠ Enter a number between 1 and 24")`)
		p.is("the form is closed", `!`+inDiscord.formOpen())
		p.is("the focus is on the way back", `document.activeElement.textContent === "Try again"`)
		p.is("it is read out", `document.getElementById("live").textContent.includes("Enter a number between 1 and 24")`)
		p.is("nothing is decided", inSlack.progress()+`.startsWith("Progress: Pending")`)

		p.click(inDiscord.whisper("Try again"))
		p.until("the form is open again", inDiscord.formOpen())
		if got := p.text(`[...document.querySelectorAll("#discord-dialog textarea, #discord-dialog input[type=text], #discord-dialog input:checked")].map((n) => n.value).join("|")`); got != "Known ticket of the network team|hours|99" {
			t.Errorf("the form holds %q, want what was typed", got)
		}
		p.fill(inDiscord.form(`[data-key="in amount"]`), "2")
		p.click(inDiscord.submit())
		p.until("Discord shows that EPM has confirmed", inDiscord.confirmed())
		p.until("and so does Slack", inSlack.confirmed())
		if got := p.text(`window.tracks.map((s) => s.split(" ")[1].replace(",", "")).join(" ")`); got != "Pending Sending Submitted Confirmed" && got != "Pending Sending Confirmed" {
			t.Errorf("Slack's card said %q, want Pending Sending Submitted Confirmed", got)
		}
		p.is("Slack says who and where", `document.querySelector("#slack .card").innerText.includes("decided by Ann Approver (Discord)")`)
		p.is("Discord names them", inDiscord.all(".container .mention")+`.some((n) => n.textContent === "@Ann Approver")`)
		p.is("nobody can decide any more", `![...document.querySelectorAll(".chat article button")].some((b) => ["Approve", "Deny"].includes(b.textContent))`)
		p.until("the thread has its newest message", `((s) => s.includes("JIT-1001") && s.includes("Confirmed by EPM") && !s.includes("sending to EPM"))(document.querySelector("#discord .thread")?.textContent || "")`)
		p.click(`//section[@id="discord"]//button[.="3 messages ›"]`)
		p.until("the thread tells each step", `((s) => s.includes("sending to EPM") && s.includes("EPM accepted the decision"))(document.querySelector("#discord .thread").textContent)`)
		p.click(inDiscord.whisper("Dismiss message"))
		p.until("it is gone", `!(`+inDiscord.told()+`)`)
		p.click(`//section[@id="discord"]//button[.="Show the JSON"]`)
		p.until("the JSON is there", `document.querySelector("#discord pre.json:not([hidden])")?.textContent.includes('"accent_color"')`)
	})

	t.Run("NotAnApprover", func(t *testing.T) {
		p := openPage(t, browser, startDemo(t), 1280, 900)
		p.request("regedit")
		for _, c := range []pane{inSlack, inDiscord} {
			p.become("Sam Stranger")
			p.click(c.button("Approve"))
			p.until("Sam is told why not", c.told()+`.includes("You cannot decide this request: you are not one of the approvers")`)
			p.is("no form", `!`+c.formOpen())
			p.become("Ann Approver")
			p.is("nobody else sees it", `!(`+c.told()+`)`)
			p.is("the request still waits", c.progress()+`.startsWith("Progress: Pending")`)
		}
	})

	t.Run("CommandInDiscord", func(t *testing.T) {
		p := openPage(t, browser, startDemo(t), 1280, 900)
		p.request("regedit")
		word := func(w string) {
			p.do("choose "+w, chromedp.SetValue(chromedp.CSS("#discord-word"), w))
			eval[bool](p, "choose "+w, `document.getElementById("discord-word").dispatchEvent(new Event("change"))`)
		}
		var words []string
		for _, w := range wording.Commands() {
			words = append(words, w.Name)
		}
		p.is("every word is offered", fmt.Sprintf(`document.getElementById("discord-word").innerText.split("\n").join(" ") === %q`, strings.Join(words, " ")))
		word("incoming")
		p.is("choices are offered", inDiscord.all("#discord-options option")+`.some((o) => o.value === "failed")`)
		word("ticket")
		p.click("#discord-command button")
		p.until("the number is asked for", `document.getElementById("discord-alert").textContent.includes("Fill in “number”")`)
		p.do("type the number", chromedp.KeyEvent("JIT-1001"), chromedp.KeyEvent(kb.Enter))
		p.until("the bot answers", inDiscord.told()+`.includes("Registry Editor")`)
		p.is("the complaint is gone", `document.getElementById("discord-alert").hidden`)
		word("report")
		p.click("#discord-command button")
		p.until("the report has a picture", fmt.Sprintf(`((i) => i?.naturalWidth === %d && i.alt.includes("1 in all"))(document.querySelector("#discord img.shown"))`, pictureWidth))
	})

	t.Run("KeyboardOnlyInDiscord", func(t *testing.T) {
		p := openPage(t, browser, startDemo(t), 1280, 900)
		p.request("printer")
		p.tabTo("Deny", `f.textContent === "Deny" && f.closest("#discord")`)
		p.press(kb.Enter)
		p.until("the form is open", inDiscord.formOpen())
		p.do("type spaces", chromedp.KeyEvent("  "))
		p.tabTo("Submit", `f.type === "submit"`)
		p.press(kb.Enter)
		p.until("spaces are refused", inDiscord.told()+`.includes("Please enter a reason")`)
		p.tabTo("Try again", `f.textContent === "Try again"`)
		p.press(kb.Enter)
		p.until("the form is open again", inDiscord.formOpen())
		p.press(kb.Escape)
		p.until("the form is closed", `!`+inDiscord.formOpen())
		p.is("the focus is back on the button", `document.activeElement.textContent === "Try again"`)
		p.press(kb.Enter)
		p.until("the form is open again", inDiscord.formOpen())
		p.do("type a reason", chromedp.KeyEvent("By keyboard"))
		p.tabTo("Submit", `f.type === "submit"`)
		p.press(kb.Enter)
		p.until("it is decided", `!`+inSlack.progress()+`.startsWith("Progress: Pending")`)
	})

	t.Run("KeyboardOnly", func(t *testing.T) {
		p := openPage(t, browser, startDemo(t), 1280, 900)
		p.tabTo("the request button", `f.id === "request"`)
		p.press(kb.Enter)
		p.until("the card is there", `document.querySelector(".track")`)
		p.tabTo("Approve", `f.textContent === "Approve"`)
		p.press(kb.Enter)
		p.until("the form is open", inSlack.formOpen())
		p.do("type a reason", chromedp.KeyEvent("By keyboard"))
		p.tabTo("the duration", `f.type === "radio"`)
		p.press(kb.ArrowDown) // minutes
		p.until("minutes are asked for", `document.querySelector('[data-key="in amount"]')`)
		p.press(kb.ArrowDown)
		p.until("hours are asked for", `document.querySelector("#slack-dialog").innerText.includes("How many hours")`)
		p.tabTo("the amount", `f.dataset.key === "in amount"`)
		p.press("2", kb.Enter)
		p.until("the form is closed", `!`+inSlack.formOpen())
		p.is("the focus is at the card", `document.querySelector("#slack article").contains(document.activeElement)`)
		p.until("EPM has confirmed", inSlack.confirmed())
		p.until("EPM says the same", `document.querySelector("#requests li").innerText.includes("for 2 h")`)
		p.tabTo("the command", `f.id === "slack-command-text"`)
		p.do("write a command", chromedp.KeyEvent("status"), chromedp.KeyEvent(kb.Enter))
		p.until("the bot answers", `document.querySelector("#slack article.mine")?.innerText.includes("Waiting for a decision: 0")`)
	})

	t.Run("EPMFailsRefusesAndDecides", func(t *testing.T) {
		p := openPage(t, browser, startDemo(t), 1280, 900)
		approve := func() {
			p.click(inSlack.button("Approve"))
			p.until("the form is open", inSlack.formOpen())
			p.fill(inSlack.form(`[data-key="in reason"]`), "Fine")
			p.click(inSlack.label(`.="Once"`))
			p.click(inSlack.submit())
			p.until("the form is closed", `!`+inSlack.formOpen())
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
		p.until("EPM has confirmed", inSlack.confirmed())

		p.request("printer")
		p.click(`//ul[@id="requests"]//summary`)
		p.click(`//ul[@id="requests"]//button[.="Deny"]`)
		p.until("the card says so", `[...document.querySelectorAll(".track")].pop().getAttribute("aria-label").includes("Decided in EPM")`)
	})

	t.Run("HostileRequest", func(t *testing.T) {
		p := openPage(t, browser, startDemo(t), 1280, 900)
		p.request("hostile")
		for card, details := range map[string]string{"#slack .card": "#slack-dialog", "#discord .container": "#discord article.mine .components"} {
			c, _, _ := strings.Cut(strings.TrimPrefix(card, "#"), " ")
			some := func(selector, condition string) string {
				return fmt.Sprintf(`[...document.querySelectorAll(%q)].some((n) => %s)`, selector, condition)
			}
			harmless := func(box string) {
				t.Helper()
				p.is(box+": the publisher's name is marked", some(box, `n.textContent.includes("Micros⟦Cyrillic о⟧ft Corporation")`))
				p.is(box+": tags are text", some(box, `n.textContent.includes("<img src=x onerror=") && n.textContent.includes("<script>document.title")`))
				p.is(box+": markup is text", some(box, `n.textContent.includes("# **Confirmed by EPM** for <@1100000000000000201> and <@&1100000000000000102>: [portal.acme.example](https://evil.example) <t:0:f>")`))
				p.is(box+": no tags came of them", `!`+some(box+` :is(img, script, a, em, s, u, h1, ul, blockquote, .spoiler, .big-1)`, `true`))
				p.is(box+": nobody is mentioned", `!`+some(box+" .mention", `true`))
				p.is(box+": the reason is not bold", `!`+some(box+" strong", `/Approved|Confirmed/.test(n.textContent)`))
				p.is(box+": the reason is not what the bot says", `!`+some(box+" :is(.context, .small)", `n.textContent.includes("24 hours")`))
				p.is(box+": no moment of theirs", `!`+some(box+" time", `n.getAttribute("datetime").startsWith("1970")`))
			}
			harmless(card)
			p.click(pane(c).button("Details"))
			p.until("the details are open", `document.querySelector("`+details+`")?.textContent.includes("jdoe")`)
			harmless(details)
			if pane(c) == inSlack {
				p.press(kb.Escape)
				p.until("they are closed", `!`+inSlack.formOpen())
			}
		}
		p.is("nothing turns text around", `!/[\u202a-\u202e\u2066-\u2069]/.test(document.body.textContent)`)
		p.click(`//section[@id="slack"]//button[.="Show the JSON"]`)
		p.until("the JSON is there", `document.querySelector("#slack pre.json:not([hidden])")?.textContent.includes('"type": "header"')`)
		p.is("no script ran", `document.title === "Countersign demo"`)
	})

	// What the bot forgot to escape must have its effect on the page, or the
	// story above proves nothing.
	t.Run("DiscordMarkdown", func(t *testing.T) {
		p := openPage(t, browser, startDemo(t), 1280, 900)
		eval[bool](p, "load the module", `import("/components.js").then((m) => { window.markdown = (text) => {
			const box = document.createElement("div");
			box.append(...m.markdown(text, {names: {1: "Ann", 2: "helpdesk", 3: "epm"}}, true));
			return box.innerHTML.replaceAll(' class="', ' c="').replaceAll("\u202f", " ").replaceAll("&nbsp;", " ");
		}; }), true`)
		p.until("the module is there", `window.markdown`)
		for text, want := range map[string]string{
			"**a** *b* _c_ __d__ ~~e~~ `f*g*`":      `<strong>a</strong> <em>b</em> <em>c</em> <u>d</u> <s>e</s> <code dir="auto">f*g*</code>`,
			`\*\*a\*\* \_c\_ \~\~e\~\~ \` + "`f\\`": "**a** _c_ ~~e~~ `f`",
			"snake_case_name 2*3*4":                 `snake_case_name 2<em>3</em>4`,
			"<@1> <@!1> <@&2> <#3> <@9>":            `<span c="mention">@Ann</span> <span c="mention">@Ann</span> <span c="mention">@helpdesk</span> <span c="mention">#epm</span> <span c="mention">@unknown-user</span>`,
			`\<\@1> \<t:0:f> \@everyone`:            `&lt;@1&gt; &lt;t:0:f&gt; @everyone`,
			"@everyone @here":                       `<span c="mention loud">@everyone</span> <span c="mention loud">@here</span>`,
			"[a](https://b.example)":                `<a href="https://b.example" target="_blank" rel="noopener noreferrer" title="https://b.example">a</a>`,
			`\[a\](https\://b.example)`:             `[a](https://b.example)`,
			"[a](javascript:alert(1))":              `[a](javascript:alert(1))`,
			"see https://b.example.":                `see <a href="https://b.example" target="_blank" rel="noopener noreferrer" title="https://b.example">https://b.example</a>.`,
			"-# a **b**\nc":                         `<p c="small">a <strong>b</strong></p>c`,
			`\-# a`:                                 `-# a`,
			"a\n# b\nc":                             `a<p c="big-1">b</p>c`,
			`a # b`:                                 `a # b`,
			"> a\n> b\nc":                           `<blockquote>a` + "\n" + `b</blockquote>c`,
			`\> a`:                                  `&gt; a`,
			"- a\n- b":                              `<ul><li>a</li><li>b</li></ul>`,
			"**a**\n```\n<@1> **b**\n```\n**c**":    `<strong>a</strong><pre><code dir="auto">&lt;@1&gt; **b**</code></pre><strong>c</strong>`,
			"||a||":                                 `<span c="spoiler" title="Discord hides this until it is clicked">a</span>`,
			`\|\|a\|\|`:                             `||a||`,
			"<img src=x>":                           `&lt;img src=x&gt;`,
			"<t:0:T>":                               `<time c="moment" datetime="1970-01-01T00:00:00.000Z" title="Thursday, January 1, 1970 at 12:00 AM">12:00:00 AM</time>`,
		} {
			quoted, err := json.Marshal(text)
			if err != nil {
				t.Fatal(err)
			}
			if got := p.text(`window.markdown(` + string(quoted) + `)`); got != want {
				t.Errorf("%s\n got %s\nwant %s", text, got, want)
			}
		}
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
		for _, c := range []pane{inSlack, inDiscord} {
			where := string(c)
			p.is(where+" tells that something came", `!document.getElementById("`+where+`-badge").hidden`)
			p.click("#go-" + where)
			fits(where)
			p.is("only one part is shown", `[...document.querySelectorAll("#endpoint, .chat")].filter((n) => n.checkVisibility()).map((n) => n.id).join() === "`+where+`"`)
			p.is("the new card can be seen", `((r) => r.bottom > 0 && r.bottom <= innerHeight)(`+c.all(".track")+`.pop().getBoundingClientRect())`)
			p.click(c.button("Approve"))
			p.until("the form is open", c.formOpen())
			fits(where + ": the form")
			p.is("the form does not scroll sideways", `(d => d.scrollWidth <= d.clientWidth)(document.querySelector("`+c.form(".view-body")+`"))`)
			p.is("its buttons can be seen", fmt.Sprintf(`document.querySelector(%q).getBoundingClientRect().bottom <= innerHeight`, c.submit()))
			p.click(c.form(`[data-key="close"]`))
			p.until("the form is closed", `!`+c.formOpen())
			p.click(c.button("Details"))
			p.until("the details are there", c.formOpen()+` || `+c.told())
			fits(where + ": the details")
			if c == inSlack {
				p.press(kb.Escape)
				p.until("the details are closed", `!`+c.formOpen())
			}
			p.click(`(//section[@id="` + where + `"]//button[.="Show the JSON"])[1]`)
			fits(where + ": the JSON")
		}
		p.do("choose a command", chromedp.SetValue(chromedp.CSS("#discord-word"), "state"))
		eval[bool](p, "choose a command", `document.getElementById("discord-word").dispatchEvent(new Event("change"))`)
		fits("the command")
	})

	t.Run("TwoPeopleAtOnce", func(t *testing.T) {
		address := startDemo(t)
		ann, grace := openPage(t, browser, address, 1280, 900), openPage(t, browser, address, 1280, 900)
		grace.become("Grace Approver")
		ann.request("wireshark")
		for p, c := range map[*page]pane{ann: inSlack, grace: inDiscord} {
			p.click(c.button("Approve"))
			p.until("the form is open", c.formOpen())
			p.click(c.label(`.="Once"`))
			p.fill(c.form(`[data-key="in reason"]`), "Fine")
		}
		ann.click(inSlack.submit())
		ann.until("Ann's form is closed", `!`+inSlack.formOpen())
		grace.is("Grace's text is still there", `document.querySelector('#discord-dialog [data-key="in reason"]').value === "Fine"`)
		grace.click(inDiscord.submit())
		grace.until("Grace is told who was faster, and where", inDiscord.told()+`.includes("has already approved this request in Slack")`)
	})
}

// TestDemoScreenshot makes the picture of the README, when it is asked to.
func TestDemoScreenshot(t *testing.T) {
	if os.Getenv("COUNTERSIGN_UPDATE_SCREENSHOT") != "1" {
		t.Skip("COUNTERSIGN_UPDATE_SCREENSHOT=1 makes docs/demo.png again")
	}
	p := openPage(t, newBrowser(t), startDemo(t), 1440, 900)
	p.request("wireshark")
	p.click(inDiscord.button("Approve"))
	p.until("the form is open", inDiscord.formOpen())
	p.fill(inDiscord.form(`[data-key="in reason"]`), "Known problem, ticket NET-211")
	p.click(inDiscord.label(`starts-with(., "Hours")`))
	p.fill(inDiscord.form(`[data-key="in amount"]`), "2")
	p.click(inDiscord.submit())
	p.until("EPM has confirmed", inDiscord.confirmed())
	p.until("Slack shows it too", inSlack.confirmed())
	p.click(`//label[contains(., "Admin access")]`)
	p.click("#request")
	p.until("the second card is there", inSlack.all(".track")+`.length === 2 && `+inDiscord.all(".track")+`.length === 2`)
	eval[bool](p, "scroll up", `document.getElementById("endpoint").scrollTop = 0; true`)
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
