package query

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"

	"github.com/adtally/adtally/internal/access"
	"github.com/adtally/adtally/query/answer"
	"github.com/adtally/adtally/query/experiment"
	"github.com/adtally/adtally/query/export"
	"github.com/adtally/adtally/query/problems"
	"github.com/adtally/adtally/query/report"
	"github.com/adtally/adtally/query/strictjson"
)

// outcomes are the rates that variants are compared by.
var outcomes = []string{"ctr", "viewability", "conversion_rate"}

// experimentRequest asks how a campaign's variants did.
type experimentRequest struct {
	Advertiser, Campaign       string
	Start, End, Timezone, AsOf string
	// Metric is one of outcomes.
	Metric string
	// Control is the variant that the others are held against; nil for the first.
	Control *string
	// Confidence is that of the intervals; nil for the usual.
	Confidence *float64
}

type experimentAnswer struct {
	Metric     string          `json:"metric"`
	Control    string          `json:"control"`
	Confidence float64         `json:"confidence"`
	Variants   []variantAnswer `json:"variants"`
	Method     string          `json:"method"`
	Meta       json.RawMessage `json:"meta"`
}

type variantAnswer struct {
	Variant   string `json:"variant"`
	Trials    int64  `json:"trials"`
	Successes int64  `json:"successes"`
	// Rate and the bounds of its interval; a rate without trials is null.
	Rate *float64 `json:"rate"`
	Low  float64  `json:"low"`
	High float64  `json:"high"`
	// Against is the comparison with the control; the control itself has none.
	Against *againstControl `json:"against_control,omitempty"`
}

type againstControl struct {
	Difference *float64 `json:"difference"`
	Lift       *float64 `json:"lift"`
	Z          float64  `json:"z"`
	PValue     float64  `json:"p_value"`
}

const experimentMethod = "Rates with Wilson score intervals; two-sided two-proportion z-test with the pooled rate against the control. " +
	"P values are not adjusted for several variants."

// maxVariants bounds an answer.
const maxVariants = 1000

func (s *Server) postExperiment(w http.ResponseWriter, r *http.Request, grant access.Grant) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	if err != nil {
		bodyProblem(err).Write(w, requestIDOf(w))
		return
	}
	ctx, cancel := withTimeout(r.Context(), s.cfg.Timeout)
	defer cancel()
	answer, err := s.experiment(ctx, grant, body, requestIDOf(w))
	if err != nil {
		s.fail(w, r, timedOut(ctx, err))
		return
	}
	writeJSONValue(w, answer)
}

func (s *Server) experiment(ctx context.Context, grant access.Grant, body []byte, requestID string) (*experimentAnswer, error) {
	asked, problem := decodeExperiment(body)
	if problem != nil {
		return nil, problem
	}
	metric := report.MetricNamed(asked.Metric)
	trials, successes := countNamed(metric.Per), countNamed(metric.Of)
	limit := int64(maxVariants)
	r, problem := s.newReport(report.Request{
		Advertiser: asked.Advertiser, Start: asked.Start, End: asked.End, Timezone: asked.Timezone, AsOf: asked.AsOf,
		Dimensions: []string{"variant"}, Metrics: []string{trials, successes}, Limit: &limit,
		Filters: []report.Filter{{Dimension: "campaign", Op: report.OpEq, Values: []string{asked.Campaign}}},
	}, grant)
	if problem != nil {
		return nil, problem.Renamed("filters[0].values[0]", "campaign")
	}
	planned, leave, err := s.enter(ctx, r)
	if err != nil {
		return nil, err
	}
	defer leave()
	got, err := s.ask(ctx, grant, planned, requestID)
	if err != nil {
		return nil, err
	}
	return asked.compare(got)
}

// countNamed is the metric that shows a measure as it is.
func countNamed(m *report.Measure) string {
	for i := range report.Metrics {
		if report.Metrics[i].Kind == report.KindCount && report.Metrics[i].Of == m {
			return report.Metrics[i].Name
		}
	}
	panic("BUG: a rate of what is not counted")
}

func decodeExperiment(body []byte) (*experimentRequest, *problems.Problem) {
	asked := &experimentRequest{Metric: "ctr"}
	problem := strictjson.Decode(body, func(d *strictjson.Decoder) strictjson.Fields {
		return strictjson.Fields{
			"advertiser": func(path string) *problems.Problem { return d.TextOrNumber(path, &asked.Advertiser) },
			"campaign":   func(path string) *problems.Problem { return d.TextOrNumber(path, &asked.Campaign) },
			"start":      d.TextOf(&asked.Start),
			"end":        d.TextOf(&asked.End),
			"timezone":   d.TextOf(&asked.Timezone),
			"metric":     d.TextOf(&asked.Metric),
			"control": func(path string) *problems.Problem {
				asked.Control = new(string)
				return d.Text(path, asked.Control)
			},
			"confidence": func(path string) *problems.Problem { return d.Number(path, &asked.Confidence) },
			"as_of":      d.TextOf(&asked.AsOf),
		}
	})
	if problem != nil {
		return nil, problem
	}
	if m := report.MetricNamed(asked.Metric); m == nil || m.Kind != report.KindRate {
		return nil, problems.Unknown("metric", "unknown_metric", asked.Metric, outcomes)
	}
	if asked.Campaign == "" {
		return nil, problems.Field("campaign", "missing_field", "An experiment needs a campaign.")
	}
	if asked.Confidence == nil {
		usual := 0.95
		asked.Confidence = &usual
	}
	if c := *asked.Confidence; c < 0.5 || c > 0.9999 {
		return nil, problems.Field("confidence", "invalid_confidence", "confidence is from 0.5 to 0.9999.")
	}
	return asked, nil
}

func (q *experimentRequest) compare(a *answer.Answer) (*experimentAnswer, error) {
	out := &experimentAnswer{Metric: q.Metric, Confidence: *q.Confidence, Variants: []variantAnswer{}, Method: experimentMethod}
	out.Meta = export.AppendMeta(nil, &a.Shape.Meta)
	counts := map[string]experiment.Counts{}
	var names []string
	for _, b := range a.Batches {
		for row := range b.Rows {
			name := answer.TextAt(&b.Vectors[0], row)
			names = append(names, name)
			counts[name] = experiment.Counts{Trials: b.Vectors[1].Ints[row], Successes: b.Vectors[2].Ints[row]}
		}
	}
	if len(names) == 0 {
		return out, nil
	}
	out.Control = names[0]
	if q.Control != nil {
		out.Control = *q.Control
		if _, ok := counts[out.Control]; !ok {
			return nil, problems.Unknown("control", "unknown_variant", out.Control, names)
		}
	}
	for _, name := range names {
		v, err := showVariant(name, counts[name], counts[out.Control], *q.Confidence, name == out.Control)
		if errors.Is(err, experiment.ErrCounts) {
			return nil, problems.New(http.StatusUnprocessableEntity, "no_proportion",
				"Variant "+problems.Quote(name)+" has more successes than trials, so "+q.Metric+" is no proportion there.")
		}
		out.Variants = append(out.Variants, v)
	}
	return out, nil
}

func showVariant(name string, c, control experiment.Counts, confidence float64, isControl bool) (variantAnswer, error) {
	v := variantAnswer{Variant: name, Trials: c.Trials, Successes: c.Successes, Rate: finite(c.Rate())}
	interval, err := experiment.Wilson(c, confidence)
	if err != nil {
		return v, err
	}
	v.Low, v.High = interval.Low, interval.High
	if isControl {
		return v, nil
	}
	test, err := experiment.Compare(control, c)
	v.Against = &againstControl{Difference: finite(test.Difference), Lift: finite(test.Lift), Z: test.Z, PValue: test.P}
	return v, err
}

// finite is nil for what JSON cannot say.
func finite(x float64) *float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return &x
}
