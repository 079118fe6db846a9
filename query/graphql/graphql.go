package graphql

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/handler"
	"github.com/99designs/gqlgen/graphql/handler/extension"
	"github.com/99designs/gqlgen/graphql/handler/transport"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
)

// Limits of one query.
const (
	// MaxDepth bounds how deep selections nest; introspection is not counted.
	MaxDepth = 6
	// MaxCost bounds the sum of all fields; a field that asks the storage counts
	// as askCost.
	MaxCost = 1000
	askCost = 100

	maxTokens = 5000
)

// Backend answers the fields of Query for whoever asks in ctx. Its errors are
// shown to the client if they are a *Refusal, and hidden otherwise.
type Backend interface {
	Report(ctx context.Context, input *ReportInput) (*Report, error)
	Accounts(ctx context.Context, advertiser *string) ([]*Account, error)
	Campaigns(ctx context.Context, advertiser *string, start, end string, first int64) ([]*Campaign, error)
	Freshness(ctx context.Context) (*Freshness, error)
}

// Refusal is an error that the client may see.
type Refusal struct {
	// Code is stable, Detail is for people, Field is at fault.
	Code, Detail, Field string
	// Allowed lists what would have been taken.
	Allowed []string
}

// Error returns the code and the explanation.
func (r *Refusal) Error() string { return r.Code + ": " + r.Detail }

// New returns the handler. failed is told every error that is hidden from the
// client, and returns what is said instead.
func New(backend Backend, failed func(ctx context.Context, err error) *Refusal) http.Handler {
	cfg := Config{Resolvers: &resolver{backend}}
	ask := func(children int) int { return askCost + children }
	cfg.Complexity.Query.Report = func(children int, _ ReportInput) int { return ask(children) }
	cfg.Complexity.Query.Campaigns = func(children int, _ *string, _, _ string, _ *int64) int { return ask(children) }
	srv := handler.New(NewExecutableSchema(cfg))
	srv.AddTransport(transport.POST{})
	srv.SetParserTokenLimit(maxTokens)
	srv.Use(extension.Introspection{})
	srv.Use(extension.FixedComplexityLimit(MaxCost))
	srv.AroundOperations(boundDepth)
	srv.SetErrorPresenter(func(ctx context.Context, err error) *gqlerror.Error { return present(ctx, err, failed) })
	srv.SetRecoverFunc(func(_ context.Context, cause any) error { return fmt.Errorf("panic: %v", cause) })
	return srv
}

// present shows a refusal or an error of the query itself; the rest is hidden.
func present(ctx context.Context, err error, failed func(context.Context, error) *Refusal) *gqlerror.Error {
	shown := graphql.DefaultErrorPresenter(ctx, err)
	refusal, ok := errors.AsType[*Refusal](err)
	if !ok {
		if own, isOwn := errors.AsType[*gqlerror.Error](err); isOwn && own.Unwrap() == nil {
			return shown // the query's syntax, its fields, its limits
		}
		refusal = failed(ctx, err)
	}
	shown.Message = refusal.Detail
	shown.Extensions = map[string]any{"code": refusal.Code}
	if refusal.Field != "" {
		shown.Extensions["field"] = refusal.Field
	}
	if len(refusal.Allowed) > 0 {
		shown.Extensions["allowed"] = refusal.Allowed
	}
	return shown
}

func boundDepth(ctx context.Context, next graphql.OperationHandler) graphql.ResponseHandler {
	op := graphql.GetOperationContext(ctx)
	if depth(op.Operation.SelectionSet, MaxDepth) > MaxDepth {
		err := gqlerror.Errorf("the query is nested deeper than %d fields", MaxDepth)
		err.Extensions = map[string]any{"code": "too_deep"}
		return graphql.OneShot(&graphql.Response{Errors: gqlerror.List{err}})
	}
	return next(ctx)
}

// depth is how deep fields nest, or more than most as soon as that is known.
// Validation has refused fragments that contain themselves.
func depth(set ast.SelectionSet, most int) int {
	deepest := 0
	for _, selection := range set {
		d := 0
		switch s := selection.(type) {
		case *ast.Field:
			if len(s.Name) > 1 && s.Name[:2] == "__" {
				continue
			}
			if d = 1; most > 0 {
				d += depth(s.SelectionSet, most-1)
			}
		case *ast.InlineFragment:
			d = depth(s.SelectionSet, most)
		case *ast.FragmentSpread:
			d = depth(s.Definition.SelectionSet, most)
		}
		deepest = max(deepest, d)
	}
	return deepest
}

// JSON is a value that is JSON already.
type JSON []byte

// MarshalGQL implements graphql.Marshaler.
func (j JSON) MarshalGQL(w io.Writer) { _, _ = w.Write(j) } // a buffer takes all

// UnmarshalGQL implements graphql.Unmarshaler; JSON is never an input.
func (j *JSON) UnmarshalGQL(any) error { return errors.New("JSON is no input") }

type resolver struct{ backend Backend }

// Query implements ResolverRoot.
func (r *resolver) Query() QueryResolver { return queries{r.backend} }

type queries struct{ backend Backend }

// Report implements QueryResolver.
func (q queries) Report(ctx context.Context, input ReportInput) (*Report, error) {
	return q.backend.Report(ctx, &input)
}

// Accounts implements QueryResolver.
func (q queries) Accounts(ctx context.Context) ([]*Account, error) {
	return q.backend.Accounts(ctx, nil)
}

// Account implements QueryResolver.
func (q queries) Account(ctx context.Context, advertiser *string) (*Account, error) {
	own := ""
	if advertiser == nil {
		advertiser = &own
	}
	list, err := q.backend.Accounts(ctx, advertiser)
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// Campaigns implements QueryResolver.
func (q queries) Campaigns(ctx context.Context, advertiser *string, start, end string, first *int64) ([]*Campaign, error) {
	n := int64(100)
	if first != nil {
		n = *first
	}
	return q.backend.Campaigns(ctx, advertiser, start, end, n)
}

// Freshness implements QueryResolver.
func (q queries) Freshness(ctx context.Context) (*Freshness, error) { return q.backend.Freshness(ctx) }
