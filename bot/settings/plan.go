package settings

import (
	"fmt"
	"maps"
	"slices"

	"github.com/countersign/countersign/tickets"
)

// Difference is what a change does to one setting, as people read it.
type Difference struct {
	Key           string
	Before, After string // what holds, also if nothing was set
	Unfit         bool   // it is taken back because it does not fit Type
	Type          string // of new tickets after the change
}

// PlanChanges is how set, over the values base that the program was started with,
// comes to hold values; nil takes a setting back to base. It is nothing if
// there is nothing to do, and nothing if something may not be: problems are
// sentences that say what, all at once. ask is a sentence about what has to be
// meant before the changes are made; "" if nothing has to.
func PlanChanges(base map[string]string, w Registry, set tickets.Settings, values map[string]*string) (changes []tickets.Change, does []Difference, ask string, problems []string) {
	before, brokenBefore := Effective(base, set, w)
	now, broken := Effective(base, set.With(Changes(set, values)), w)
	values = maps.Clone(values)
	taken := map[string]bool{}
	for _, key := range slices.Sorted(maps.Keys(broken)) {
		if _, asked := values[key]; asked {
			problems = append(problems, fmt.Sprintf("%s was not changed: %s.", key, broken[key]))
		} else if brokenBefore[key] == nil { // as active states of another ticket type
			values[key], taken[key] = nil, true
		}
	}
	if len(problems) > 0 {
		return nil, nil, "", problems // what else were wrong would follow from that
	}
	for _, why := range now.stuck() {
		if !slices.Contains(before.stuck(), why) {
			problems = append(problems, "Nothing was changed: "+why+".")
		}
	}
	if len(problems) > 0 {
		return nil, nil, "", problems
	}
	for _, c := range Changes(set, values) {
		text := now.Show(c.Key)
		if c.New != nil {
			c.New = &text // kept as it is shown
		}
		same := c.Old == nil && c.New == nil || c.Old != nil && c.New != nil && *c.Old == *c.New
		if same && brokenBefore[c.Key] == nil {
			continue
		}
		changes = append(changes, c)
		does = append(does, Difference{Key: c.Key, Before: before.Show(c.Key), After: text, Unfit: taken[c.Key], Type: now.Rules.Type.Name})
	}
	if say := now.FirstInactive(); say != "" && len(changes) > 0 && before.FirstInactive() == "" {
		ask = say + "."
	}
	return changes, does, ask, nil
}

// ReplaceAll are values that leave set with nothing but wanted.
func ReplaceAll(set tickets.Settings, wanted map[string]string) map[string]*string {
	values := map[string]*string{}
	for key := range set.Values {
		values[key] = nil
	}
	for key, text := range wanted {
		values[key] = &text
	}
	return values
}

// Changes are values as changes of set, in the order of the keys.
func Changes(set tickets.Settings, values map[string]*string) []tickets.Change {
	var list []tickets.Change
	for _, key := range slices.Sorted(maps.Keys(values)) {
		c := tickets.Change{Key: key, New: values[key]}
		if old, ok := set.Values[key]; ok {
			c.Old = &old
		}
		list = append(list, c)
	}
	return list
}
