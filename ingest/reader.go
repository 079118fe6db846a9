package ingest

import (
	"bytes"
	"errors"

	"github.com/adtally/adtally/ingest/jsonscan"
)

const (
	maxWarnings  = 20
	maxNameShown = 64
	wrapperIndex = -1 // the index of a warning about the object around the events
	eventsMember = "events"
)

var (
	errEmpty    = errors.New("the body is empty")
	errNoEvents = errors.New(`not an array, nor an object with the array "events", nor lines of objects`)
	errTwice    = errors.New(`"events" is given twice`)
	errTooMany  = errors.New("too many events")
)

// field is a field of an event in a request.
type field uint8

const (
	fieldToken field = iota
	fieldType
	fieldID
	fieldImpression
	fieldTime
	fieldAdvertiser
	fieldCampaign
	fieldAdGroup
	fieldCreative
	fieldPlacement
	fieldPublisher
	fieldCountry
	fieldRegion
	fieldDevice
	fieldOS
	fieldBrowser
	fieldVariant
	fieldUser
	fieldIP
	fieldUserAgent
	fieldPrice
	fieldPricing
	fieldCurrency
	fieldGDPR
	fieldGDPRConsent
	fieldGPP
	fieldGPPSID
	fieldUSPrivacy
	fields
)

var fieldNames = [fields]string{
	"token", "type", "id", "impression_id", "time", "advertiser_id", "campaign_id", "ad_group_id", "creative_id",
	"placement_id", "publisher_id", "country", "region", "device", "os", "browser", "variant", "user_id", "ip",
	"user_agent", "price", "pricing", "currency", "gdpr", "gdpr_consent", "gpp", "gpp_sid", "us_privacy",
}

var fieldsByName = func() map[string]field {
	m := make(map[string]field, fields)
	for f, name := range fieldNames {
		m[name] = field(f)
	}
	return m
}()

// fieldSet is a set of fields.
type fieldSet uint32

const (
	consentFields fieldSet = 1<<fieldGDPR | 1<<fieldGDPRConsent | 1<<fieldGPP | 1<<fieldGPPSID | 1<<fieldUSPrivacy
	clientFields  fieldSet = 1<<fieldToken | 1<<fieldType | 1<<fieldID | 1<<fieldTime | consentFields
	serverFields  fieldSet = 1<<fields - 1 - 1<<fieldToken
)

// rawEvent is one event as it was written: which fields, and their values.
type rawEvent struct {
	object bool // false: not even an object
	given  fieldSet
	twice  fieldSet
	kinds  [fields]jsonscan.Kind
	values [fields][]byte
}

// warning is a field that was not read.
type warning struct {
	index int
	field []byte
}

// reader reads the events of a body one by one. Whatever it hands out lives as
// long as the body and until the next start.
type reader struct {
	json  jsonscan.Scanner
	known fieldSet
	max   int

	lines   bool // one object after the other; else an array
	wrapped bool // the array is a member of an object
	index   int  // of the event that next read
	begin   int  // where the event began
	lineEnd int  // where it ended

	// follows guesses the next field from the one before: the events of a sender
	// have their fields in one order, and a comparison is cheaper than a look-up.
	follows [fields]field
	last    field

	raw      rawEvent
	warnings []warning
	rejected []refusal
	out      []byte
	err      error
}

// start begins a body. Lines of objects are accepted if lines says so.
func (r *reader) start(body []byte, known fieldSet, limit int, lines bool) {
	r.known, r.max, r.index = known, limit, -1
	r.lines, r.wrapped = false, false
	r.warnings, r.rejected = r.warnings[:0], r.rejected[:0]
	if r.err = r.json.Reset(body); r.err != nil {
		return
	}
	switch r.json.Peek() {
	case 0:
		r.err = r.emptyOrBroken()
	case '[':
		r.err = r.json.Enter('[')
	case '{':
		r.err = r.startObject(lines)
	default:
		r.err = errNoEvents
	}
}

func (r *reader) emptyOrBroken() error {
	if r.json.Pos() >= len(r.json.Text()) {
		return errEmpty
	}
	return jsonscan.ErrSyntax
}

// startObject tells {"events":[…]} from a line, by looking through the object.
func (r *reader) startObject(lines bool) error {
	begin := r.json.Pos()
	found, err := r.seekEvents(false)
	switch {
	case err != nil:
		return err
	case found:
		r.json.Rewind(begin)
		r.wrapped = true
		if _, err := r.seekEvents(true); err != nil {
			return err
		}
		if r.json.Peek() != '[' {
			return errNoEvents
		}
		return r.json.Enter('[')
	case lines:
		r.json.Rewind(begin)
		r.lines = true
		return nil
	default:
		return errNoEvents
	}
}

// seekEvents moves to the value of the member "events" of the object ahead.
func (r *reader) seekEvents(warn bool) (bool, error) {
	if err := r.json.Enter('{'); err != nil {
		return false, err
	}
	for first := true; ; first = false {
		again, err := r.json.More('}', first)
		if err != nil || !again {
			return false, err
		}
		name, err := r.json.Key()
		if err != nil || string(name) == eventsMember {
			return true, err
		}
		if warn {
			r.warn(wrapperIndex, name)
		}
		if _, _, err := r.json.Value(); err != nil {
			return false, err
		}
	}
}

// next reads the next event into raw and reports whether there was one. After
// the last, err says whether the body was whole.
func (r *reader) next() bool {
	if r.err != nil {
		return false
	}
	again, err := r.advance()
	if err == nil && again {
		if r.index++; r.index >= r.max {
			err = errTooMany
		} else {
			err = r.event()
		}
	}
	r.err = err
	return again && err == nil
}

func (r *reader) advance() (bool, error) {
	if r.lines {
		if r.json.Peek() == 0 {
			return false, r.json.End()
		}
		if r.index >= 0 && bytes.IndexByte(r.json.Text()[r.lineEnd:r.json.Pos()], '\n') < 0 {
			return false, jsonscan.ErrAfterValue
		}
		return true, nil
	}
	again, err := r.json.More(']', r.index < 0)
	if err != nil || again {
		return again, err
	}
	if r.wrapped {
		if err := r.finishWrapper(); err != nil {
			return false, err
		}
	}
	return false, r.json.End()
}

// finishWrapper reads what follows the array of {"events":[…]}.
func (r *reader) finishWrapper() error {
	for {
		again, err := r.json.More('}', false)
		if err != nil || !again {
			return err
		}
		name, err := r.json.Key()
		if err != nil {
			return err
		}
		if string(name) == eventsMember {
			return errTwice
		}
		r.warn(wrapperIndex, name)
		if _, _, err := r.json.Value(); err != nil {
			return err
		}
	}
}

// event reads one event into raw.
func (r *reader) event() error {
	raw := &r.raw
	raw.given, raw.twice = 0, 0
	raw.object = r.json.Peek() == '{'
	r.begin = r.json.Pos()
	if !raw.object {
		_, _, err := r.json.Value()
		r.lineEnd = r.json.Pos()
		return err
	}
	if err := r.json.Enter('{'); err != nil {
		return err
	}
	for first := true; ; first = false {
		again, err := r.json.More('}', first)
		if err != nil {
			return err
		}
		if !again {
			r.lineEnd = r.json.Pos()
			return nil
		}
		if err := r.member(); err != nil {
			return err
		}
	}
}

// member reads one field of an event.
func (r *reader) member() error {
	name, err := r.json.Key()
	if err != nil {
		return err
	}
	k, value, err := r.json.Value()
	if err != nil {
		return err
	}
	f, ok := r.lookup(name)
	if !ok || r.known&(1<<f) == 0 {
		r.warn(r.index, name)
		return nil
	}
	raw := &r.raw
	raw.twice |= raw.given & (1 << f)
	raw.given |= 1 << f
	raw.kinds[f], raw.values[f] = k, value
	return nil
}

func (r *reader) lookup(name []byte) (field, bool) {
	f, ok := r.follows[r.last], true
	if fieldNames[f] != string(name) {
		if f, ok = fieldsByName[string(name)]; ok {
			r.follows[r.last] = f
		}
	}
	r.last = f
	return f, ok
}

func (r *reader) warn(index int, name []byte) {
	if len(r.warnings) < maxWarnings {
		r.warnings = append(r.warnings, warning{index: index, field: name})
	}
}

// kind returns the kind of a field's value; null counts as absent.
func (e *rawEvent) kind(f field) jsonscan.Kind {
	if e.given&(1<<f) == 0 {
		return jsonscan.None
	}
	return e.kinds[f]
}
