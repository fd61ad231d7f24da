package selfcheck

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// employee is somebody of a company that was made up.
type employee struct {
	first, last, account, address string
}

func (e employee) name() string { return e.first + " " + e.last }

// company makes up a company: common and rare names of several countries, and
// accounts in the ways in which companies make them, one way for each domain.
func company(size int) []employee {
	first := strings.Fields(`James Mary Robert Patricia John Jennifer Michael Linda David Elizabeth William Barbara Richard
		Susan Joseph Jessica Thomas Sarah Charles Karen Christopher Lisa Daniel Nancy Matthew Sandra Anthony Ashley Mark
		Emily Steven Kimberly Andrew Margaret Paul Donna Joshua Michelle Kenneth Carol Kevin Amanda Brian Melissa George
		Deborah Timothy Stephanie Ronald Rebecca Jason Laura Edward Cynthia Jeffrey Dorothy Ryan Amy Jacob Kathleen Gary
		Angela Nicholas Shirley Eric Emma Jonathan Brenda Stephen Pamela Larry Nicole Justin Anna Scott Samantha Brandon
		Katherine Benjamin Christine Samuel Debra Gregory Rachel Alexander Carolyn Patrick Janet Frank Maria Raymond Olivia
		Jack Heather Dennis Helen Jerry Catherine Tyler Diane Aaron Julie Jose Victoria Adam Joyce Nathan Lauren Henry
		Kelly Peter Christina Zachary Ruth Walter Joan Kyle Virginia Harold Judith Carl Evelyn Hans Ursula Jürgen Sabine
		Wolfgang Birgit Lars Ingrid Søren Astrid Pierre Chloé François Amélie Giulia Luca Matteo Chiara Javier Lucía
		Álvaro Inés Wei Li Min Jun Hiroshi Yuki Priya Arjun Ananya Rahul Fatima Omar Layla Yusuf Olga Dmitri Anastasia
		Ivan Katarzyna Piotr Zofia Jan Ana Ann Jo Max Eva Ian Lea`)
	last := strings.Fields(`Smith Johnson Williams Brown Jones Garcia Miller Davis Rodriguez Martinez Hernandez Lopez Gonzalez
		Wilson Anderson Thomas Taylor Moore Jackson Martin Lee Perez Thompson White Harris Sanchez Clark Ramirez Lewis
		Robinson Walker Young Allen King Wright Scott Torres Nguyen Hill Flores Green Adams Nelson Baker Hall Rivera
		Campbell Mitchell Carter Roberts Gomez Phillips Evans Turner Diaz Parker Cruz Edwards Collins Reyes Stewart Morris
		Morales Murphy Cook Rogers Gutierrez Ortiz Morgan Cooper Peterson Bailey Reed Kelly Howard Ramos Kim Cox Ward
		Richardson Watson Brooks Chavez Wood James Bennett Gray Mendoza Ruiz Hughes Price Alvarez Castillo Sanders Patel
		Myers Long Ross Foster Jimenez Powell Jenkins Perry Russell Sullivan Bell Coleman Butler Henderson Barnes Gonzales
		Fisher Vasquez Simmons Stokes Burns Fox Daniels Palmer Mills Nichols Grant Knight Ferguson Rose Stone Hawkins
		Dunn Perkins Hudson Spencer Gardner Stephens Payne Pierce Berry Matthews Arnold Wagner Willis Ray Watkins Olson
		Carroll Duncan Snyder Hart Cunningham Bradley Lane Andrews Harper Fuller Buckminster Sand Sandmann Smithson Doe
		Müller Schmidt Schneider Fischer Weber Meyer Schulz Becker Hoffmann Schäfer Koch Bauer Richter Klein Wolf
		Schröder Neumann Schwarz Zimmermann Krüger Hansen Sørensen Nielsen Jensen Larsen Eriksson Lindqvist Dubois Moreau
		Laurent Lefèvre Rossi Ferrari Esposito Bianchi Romano Costa Silva Santos Ferreira Kowalski Nowak Wiśniewski
		Ivanova Petrov Sidorov Wang Li Zhang Chen Liu Yang Huang Tanaka Suzuki Sato Sharma Gupta Singh Khan Ali Hassan
		Smith-Jones O’Brien O’Connor McDonald Van-Dyke De-Luca`)
	plain := func(s string) string {
		return strings.NewReplacer("ü", "ue", "ä", "ae", "ö", "oe", "ø", "o", "é", "e", "è", "e", "ç", "c", "í", "i", "á", "a", "ś", "s", "’", "", "-", "").
			Replace(strings.ToLower(s))
	}
	r := rand.New(rand.NewPCG(20, 26))
	var all []employee
	taken := map[string]int{}
	unique := func(s string) string {
		taken[s]++
		if n := taken[s]; n > 1 {
			return fmt.Sprint(s, n)
		}
		return s
	}
	for len(all) < size {
		e := employee{first: first[r.IntN(len(first))], last: last[r.IntN(len(last))]}
		if slices.ContainsFunc(all, func(o employee) bool { return o.name() == e.name() }) {
			continue
		}
		f, l := plain(e.first), plain(e.last)
		ways := []string{f[:1] + l, f + "." + l, l + f[:1], f + l[:1], l[:min(len(l), 7)] + f[:1], l + "." + f, f + l, f[:min(len(f), 3)] + l[:min(len(l), 3)]}
		e.account = "ACME\\" + unique(ways[len(all)%len(ways)])
		box := ways[1]
		if len(all)%2 == 0 {
			box = ways[0]
		}
		e.address = unique(box+"@") + "acme.com"
		if before, n, _ := strings.Cut(e.address, "@"); !strings.HasPrefix(n, "acme.com") {
			e.address = before + strings.TrimSuffix(n, "acme.com") + "@acme.com"
		}
		all = append(all, e)
	}
	return all
}

// TestUnrelatedPeopleDecide: of all pairs of unrelated people in a company of
// 2,000 at most one in 200 cannot decide for the other, and everybody's account
// is taken for their own.
func TestUnrelatedPeopleDecide(t *testing.T) {
	t.Parallel()
	size := 2000
	if testing.Short() || raceEnabled {
		size = 300
	}
	people := company(size)
	accounts, known := make([]name, size), make([][]name, size)
	for i, e := range people {
		accounts[i] = newAccount(e.account)
		known[i] = knownNames(Identity{Emails: []string{e.address}, Names: []string{e.name()}})
	}
	pairs, refused := 0, 0
	worst := make([]int, size) // how many others cannot decide for each
	for i, asker := range people {
		for j, p := range people {
			alike := slices.ContainsFunc(known[j], accounts[i].alike)
			switch {
			case i == j && !alike:
				t.Errorf("%s is not taken for the account of %s, %s", asker.account, p.name(), p.address)
			case i != j:
				pairs++
				if alike {
					refused++
					worst[i]++
				}
			}
		}
	}
	share := 100 * float64(refused) / float64(pairs)
	t.Logf("%d of %d pairs refused: %.3f %%", refused, pairs, share)
	if share > 0.5 {
		t.Errorf("%.3f %% of the pairs of unrelated people are refused, want at most 0.5 %%", share)
	}
	order := make([]int, size)
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return worst[b] - worst[a] })
	for _, i := range order[:10] {
		t.Logf("worst: for %s of %s %d others cannot decide", people[i].account, people[i].name(), worst[i])
	}
}
