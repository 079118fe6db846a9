package query

import (
	"slices"
	"time"

	"github.com/adtally/adtally/internal/access"
	"github.com/adtally/adtally/query/export/manifest"
	files "github.com/adtally/adtally/query/export/statement"
	"github.com/adtally/adtally/query/problems"
	"github.com/adtally/adtally/query/report"
	"github.com/adtally/adtally/query/strictjson"
)

// exportSpec is what a client asks for, as texts.
type exportSpec struct{ Day, Format, Timezone, Advertiser string }

// parseExport checks what a client asks for.
func parseExport(body []byte, grant access.Grant) (*manifest.Request, *problems.Problem) {
	var spec exportSpec
	problem := strictjson.Decode(body, func(d *strictjson.Decoder) strictjson.Fields {
		return strictjson.Fields{
			"day":        d.TextOf(&spec.Day),
			"format":     d.TextOf(&spec.Format),
			"timezone":   d.TextOf(&spec.Timezone),
			"advertiser": func(path string) *problems.Problem { return d.TextOrNumber(path, &spec.Advertiser) },
		}
	})
	if problem != nil {
		return nil, problem
	}
	day, err := time.Parse(time.DateOnly, spec.Day)
	if err != nil || day.Year() < 2000 || day.Year() > 2099 {
		return nil, problems.Field("day", "invalid_day", problems.Quote(spec.Day)+" is no date; 2026-11-20 is one.")
	}
	req := &manifest.Request{Day: spec.Day, Format: files.Format(spec.Format), Timezone: spec.Timezone}
	if spec.Format == "" {
		req.Format = files.Parquet
	}
	if !slices.Contains(files.Formats, req.Format) {
		return nil, problems.Unknown("format", "unknown_format", spec.Format, []string{string(files.Parquet), string(files.Arrow), string(files.CSV)})
	}
	if spec.Timezone != "" {
		if _, err := access.LoadZone(spec.Timezone); err != nil {
			return nil, problems.Field("timezone", "unknown_timezone", problems.Quote(spec.Timezone)+" is no IANA time zone; America/New_York is one.")
		}
	}
	if spec.Advertiser == "" && grant.All {
		return req, nil
	}
	tenant, problem := report.TenantOf(spec.Advertiser, grant)
	if problem != nil {
		return nil, problem
	}
	req.Advertiser = tenant.Advertiser()
	return req, nil
}
