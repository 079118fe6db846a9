package query

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/adtally/adtally/internal/access"
	"github.com/adtally/adtally/query/accept"
	"github.com/adtally/adtally/query/answer"
	"github.com/adtally/adtally/query/export"
	"github.com/adtally/adtally/query/jobs"
	"github.com/adtally/adtally/query/plan"
	"github.com/adtally/adtally/query/problems"
	"github.com/adtally/adtally/query/report"
)

// maxJobRows bounds the rows of a job's result.
const maxJobRows = 10_000_000

// jobAnswer is a job as its client sees it.
type jobAnswer struct {
	ID         string          `json:"id"`
	State      jobs.State      `json:"state"`
	Advertiser string          `json:"advertiser"`
	Format     string          `json:"format"`
	Created    time.Time       `json:"created"`
	Finished   time.Time       `json:"finished,omitzero"`
	Expires    time.Time       `json:"expires,omitzero"`
	Result     *jobResult      `json:"result,omitempty"`
	Failure    json.RawMessage `json:"failure,omitempty"`
}

type jobResult struct {
	URL    string `json:"url"`
	Rows   int    `json:"rows"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// pollAfter is the Retry-After of a job that is not done, in seconds.
const pollAfter = "1"

// postJob takes a report as a job. The format of its result is that of Accept.
func (s *Server) postJob(w http.ResponseWriter, r *http.Request, grant access.Grant) {
	job, problem := s.submit(w, r, grant)
	if problem != nil {
		problem.Write(w, requestIDOf(w))
		return
	}
	w.Header().Set("Location", jobPath(job.ID, grant, job.Tenant))
	s.showJob(w, grant, &job)
}

func (s *Server) submit(w http.ResponseWriter, r *http.Request, grant access.Grant) (jobs.Job, *problems.Problem) {
	var none jobs.Job
	if s.jobs == nil {
		return none, problems.New(http.StatusNotImplemented, "jobs_off", "This instance runs no jobs: it has no --query-job-dir.")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	if err != nil {
		return none, bodyProblem(err)
	}
	format, ok := accept.Best(r.Header.Values("Accept"), formats)
	if !ok {
		return none, problems.New(http.StatusNotAcceptable, "not_acceptable", "None of the formats in Accept is there.").Allowing(formats)
	}
	key := r.Header.Get("Idempotency-Key")
	if len(key) > report.MaxValueLen || !utf8.ValidString(key) {
		return none, problems.Field("Idempotency-Key", "invalid_idempotency_key", "An idempotency key has at most 256 bytes of UTF-8.")
	}
	asked, problem := s.jobReport(body, grant)
	if problem != nil {
		return none, problem
	}
	job, err := s.jobs.Submit(asked.Tenant.Advertiser(), key, format, body)
	switch {
	case err == nil:
		return job, nil
	case errors.Is(err, jobs.ErrConflict):
		return none, problems.New(http.StatusConflict, "idempotency_conflict", "This Idempotency-Key was used for another request.")
	case errors.Is(err, jobs.ErrTooMany):
		return none, problems.New(http.StatusTooManyRequests, "too_many_jobs", "Too many jobs of this advertiser wait or run.").Retry(10)
	case errors.Is(err, jobs.ErrNotReady):
		return none, problems.New(http.StatusServiceUnavailable, "starting", "Jobs are not known yet.").Retry(1)
	default:
		s.log.Error().Err(err).Str("request_id", requestIDOf(w)).Msg("report job cannot be taken")
		return none, problems.New(http.StatusServiceUnavailable, "jobs_unavailable", "The job cannot be stored now.").Retry(5)
	}
}

// jobReport checks the request of a job. A job has no pages, and more rows than an
// answer.
func (s *Server) jobReport(body []byte, grant access.Grant) (*report.Report, *problems.Problem) {
	req, problem := report.Decode(body)
	if problem != nil {
		return nil, problem
	}
	if req.Cursor != "" {
		return nil, problems.Field("cursor", "not_supported", "A job has no pages: its result holds all rows.")
	}
	req.MostRows = maxJobRows
	if req.Limit == nil {
		all := int64(maxJobRows)
		req.Limit = &all
	}
	return report.New(req, grant, s.keys.Account)
}

func (s *Server) getJob(w http.ResponseWriter, r *http.Request, grant access.Grant) {
	job, problem := s.findJob(r, grant)
	if problem != nil {
		problem.Write(w, requestIDOf(w))
		return
	}
	s.showJob(w, grant, &job)
}

// findJob finds a job of the key's advertiser; all others are not there.
func (s *Server) findJob(r *http.Request, grant access.Grant) (jobs.Job, *problems.Problem) {
	missing := problems.New(http.StatusNotFound, "job_not_found", "There is no such job for this key; jobs are kept for a while after they end.")
	values := r.URL.Query()
	for name := range values {
		if name != "advertiser" || len(values[name]) != 1 {
			return jobs.Job{}, problems.Field(problems.Quote(name), "unknown_field", "Only advertiser is taken here.").Allowing([]string{"advertiser"})
		}
	}
	tenant, problem := report.TenantOf(values.Get("advertiser"), grant)
	if problem != nil {
		return jobs.Job{}, problem
	}
	if s.jobs == nil {
		return jobs.Job{}, missing
	}
	job, err := s.jobs.Get(tenant.Advertiser(), r.PathValue("id"))
	switch {
	case errors.Is(err, jobs.ErrNotReady):
		return job, problems.New(http.StatusServiceUnavailable, "starting", "Jobs are not known yet.").Retry(1)
	case err != nil:
		return job, missing
	}
	return job, nil
}

// jobPath names the advertiser where the key does not.
func jobPath(id string, grant access.Grant, tenant uint64) string {
	path := "/v1/report-jobs/" + id
	if _, only := grant.Only(); !only {
		path += "?advertiser=" + formatID(tenant)
	}
	return path
}

func (s *Server) showJob(w http.ResponseWriter, grant access.Grant, job *jobs.Job) {
	out := jobAnswer{
		ID: job.ID, State: job.State, Advertiser: formatID(job.Tenant), Format: job.Format,
		Created: job.Created, Finished: job.Finished, Expires: job.Expires, Failure: job.Failure,
	}
	status := http.StatusOK
	switch job.State {
	case jobs.Done:
		path := strings.Replace(jobPath(job.ID, grant, job.Tenant), job.ID, job.ID+"/result", 1)
		out.Result = &jobResult{URL: path, Rows: job.Rows, Bytes: job.Bytes, SHA256: job.SHA256}
	case jobs.Failed:
	default:
		w.Header().Set("Retry-After", pollAfter)
		status = http.StatusAccepted
	}
	writeJSONStatus(w, status, out)
}

// getJobResult sends the file of a job that is done, or the parts of it that
// Range asks for.
func (s *Server) getJobResult(w http.ResponseWriter, r *http.Request, grant access.Grant) {
	job, problem := s.findJob(r, grant)
	if problem == nil && job.State != jobs.Done {
		problem = problems.New(http.StatusConflict, "job_not_done", "The job is "+string(job.State)+".")
	}
	if problem != nil {
		problem.Write(w, requestIDOf(w))
		return
	}
	f, err := s.jobs.Open(&job)
	if err != nil {
		s.log.Error().Err(err).Str("job", job.ID).Msg("result of a report job is missing")
		internalProblem().Write(w, requestIDOf(w))
		return
	}
	defer func() { _ = f.Close() }() // it was only read
	h := w.Header()
	h.Set("Content-Type", export.ContentType(job.Format))
	h.Set("Content-Disposition", `attachment; filename="report-`+job.ID+export.Extension(job.Format)+`"`)
	h.Set("Cache-Control", "private")
	h.Set("ETag", `"`+job.SHA256+`"`)
	if sum, err := hex.DecodeString(job.SHA256); err == nil {
		h.Set("Repr-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(sum)+":")
	}
	sendFile(w, r, job.Finished, f)
}

// runJob writes the result of a job as its rows come.
func (s *Server) runJob(ctx context.Context, job jobs.Job, w io.Writer) (jobs.Outcome, error) {
	grant := access.Grant{KeyID: "job", Advertisers: []uint64{job.Tenant}}
	asked, problem := s.jobReport(job.Request, grant)
	if problem != nil { // it was good when it was taken
		return jobs.Outcome{Failure: problem.JSON()}, nil
	}
	ctx, cancel := withTimeout(ctx, s.cfg.Jobs.Timeout)
	defer cancel()
	var rows int
	planned, err := s.open(ctx, asked)
	if err == nil {
		rows, err = s.stream(ctx, planned, job.Format, "job-"+job.ID, w)
	}
	if err == nil {
		return jobs.Outcome{Rows: rows}, nil
	}
	if problem, ok := errors.AsType[*problems.Problem](err); ok {
		return jobs.Outcome{Failure: problem.JSON()}, nil
	}
	return jobs.Outcome{}, timedOut(ctx, err)
}

// stream writes a report without holding its rows.
func (s *Server) stream(ctx context.Context, p *plan.Plan, format, id string, w io.Writer) (rows int, err error) {
	q := s.query(ctx, p, id, s.cfg.Jobs.Timeout)
	shape := q.Shape()
	out, err := export.New(format, w, &shape)
	if err != nil {
		return 0, err
	}
	totals, meta, err := answer.Stream(ctx, s.conn, q, out.Batch)
	if err != nil {
		return 0, err
	}
	meta.NextCursor = ""
	return meta.Rows, out.Close(totals, meta)
}
