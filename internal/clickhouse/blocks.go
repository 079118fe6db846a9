package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/chpool"
	"github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// Conn is a pool of native-protocol connections; safe for concurrent use.
type Conn interface {
	driver.Conn
	// Blocks runs a SELECT and hands over its answer block by block, as columns.
	Blocks(ctx context.Context, q BlockQuery) error
	// Insert writes one block of columns. If the server closed an idle connection
	// the statement is sent again, but never after Open. After an error the
	// outcome is unknown, unless it is Open's.
	Insert(ctx context.Context, in BlockInsert) error
}

// BlockQuery is a SELECT whose answer is read as columns.
type BlockQuery struct {
	// SQL is the statement, ID its query id; an empty id lets the server choose.
	SQL, ID string
	// Params are the server-side {name:Type} values.
	Params Parameters
	// Settings hold for this statement.
	Settings map[string]string
	// Sent are rows that the statement reads as a table of the name SentAs; none
	// without columns. They are only read here.
	Sent   []NamedColumn
	SentAs string
	// Columns are decoded into, in the order of the statement; each block
	// replaces what the one before left, unless OnBlock took it.
	Columns []Column
	// OnBlock is called for each block with so many rows, that of the totals
	// last. It may keep what it takes from the columns. If the server closed an
	// idle connection the statement runs again, but never after a block.
	OnBlock func(rows int) error
}

// Column is one column of a block, made by Ints, IDs, Wide or Text.
type Column interface{ column() proto.ColResult }

// IntColumn is a column of Int64.
type IntColumn struct{ data proto.ColInt64 }

// Take returns the values; the caller owns them.
func (c *IntColumn) Take() []int64 { v := c.data; c.data = nil; return v }

func (c *IntColumn) column() proto.ColResult { return &c.data }

// IDColumn is a column of UInt64.
type IDColumn struct{ data proto.ColUInt64 }

// Take returns the values; the caller owns them.
func (c *IDColumn) Take() []uint64 { v := c.data; c.data = nil; return v }

func (c *IDColumn) column() proto.ColResult { return &c.data }

// Int128 is a two's complement integer: High is its upper half.
type Int128 = proto.Int128

// WideColumn is a column of Int128.
type WideColumn struct{ data proto.ColInt128 }

// Take returns the values; the caller owns them.
func (c *WideColumn) Take() []Int128 { v := c.data; c.data = nil; return v }

func (c *WideColumn) column() proto.ColResult { return &c.data }

// TextColumn is a column of String or LowCardinality(String).
type TextColumn struct{ data textData }

// Take returns the values as a dictionary and each row's place in it; the caller
// owns both.
func (c *TextColumn) Take() (dict []string, index []int32) {
	if c.data.plain {
		return c.data.distinct()
	}
	texts := &c.data.texts
	dict = make([]string, texts.Rows())
	for i := range dict {
		dict[i] = texts.Row(i)
	}
	switch keys := c.data.coded.Keys().(type) {
	case *proto.ColUInt8:
		index = widen(*keys)
	case *proto.ColUInt16:
		index = widen(*keys)
	case *proto.ColUInt32:
		index = widen(*keys)
	case *proto.ColUInt64:
		index = widen(*keys)
	}
	return dict, index
}

func (c *TextColumn) column() proto.ColResult {
	c.data.coded.Index = &c.data.texts
	return &c.data
}

func widen[T ~uint8 | ~uint16 | ~uint32 | ~uint64](keys []T) []int32 {
	index := make([]int32, len(keys))
	for i, key := range keys {
		index[i] = int32(key)
	}
	return index
}

// textData decodes either form of a text column.
type textData struct {
	plain bool
	texts proto.ColStr
	coded proto.ColLowCardinalityRaw
}

// Infer implements proto.Inferable.
func (d *textData) Infer(t proto.ColumnType) error {
	switch t {
	case proto.ColumnTypeString:
		d.plain = true
	case proto.ColumnTypeLowCardinality.Sub(proto.ColumnTypeString):
		d.plain = false
	default:
		return fmt.Errorf("a text is wanted, not %s", t)
	}
	return nil
}

// Type implements proto.ColResult.
func (d *textData) Type() proto.ColumnType {
	if d.plain {
		return d.texts.Type()
	}
	return d.coded.Type()
}

// Rows implements proto.ColResult.
func (d *textData) Rows() int {
	if d.plain {
		return d.texts.Rows()
	}
	return d.coded.Rows()
}

// Reset implements proto.ColResult.
func (d *textData) Reset() {
	d.texts.Reset()
	d.coded.Key = proto.KeyUInt8
	d.coded.Keys8, d.coded.Keys16 = d.coded.Keys8[:0], d.coded.Keys16[:0]
	d.coded.Keys32, d.coded.Keys64 = d.coded.Keys32[:0], d.coded.Keys64[:0]
}

// DecodeState implements proto.StateDecoder.
func (d *textData) DecodeState(r *proto.Reader) error {
	if d.plain {
		return nil
	}
	return d.coded.DecodeState(r)
}

// DecodeColumn implements proto.ColResult.
func (d *textData) DecodeColumn(r *proto.Reader, rows int) error {
	if d.plain {
		return d.texts.DecodeColumn(r, rows)
	}
	return d.coded.DecodeColumn(r, rows)
}

func (d *textData) distinct() (dict []string, index []int32) {
	index = make([]int32, d.texts.Rows())
	places := make(map[string]int32)
	for i := range index {
		text := d.texts.RowBytes(i)
		place, ok := places[string(text)]
		if !ok {
			place = int32(len(dict))
			dict = append(dict, string(text))
			places[dict[place]] = place
		}
		index[i] = place
	}
	return dict, index
}

// conn adds block-wise reading to clickhouse-go's pool. The second pool is made
// when it is first needed.
type conn struct {
	driver.Conn
	cfg Config

	mu     sync.Mutex
	blocks *chpool.Pool
	closed bool
}

var errClosed = errors.New("the ClickHouse pool is closed")

func (c *conn) pool() (*chpool.Pool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errClosed
	}
	if c.blocks != nil {
		return c.blocks, nil
	}
	pool, err := chpool.New(context.Background(), chpool.Options{
		ClientOptions: ch.Options{
			Address: c.cfg.Addr[0], Dialer: addrs(c.cfg.Addr), DialTimeout: c.cfg.DialTimeout,
			Database: c.cfg.Database, User: c.cfg.User, Password: c.cfg.Password, ClientName: "adtally",
			HandshakeTimeout: c.cfg.DialTimeout, ReadTimeout: ch.NoTimeout, // the context ends what hangs
		},
		MaxConns: int32(max(1, c.cfg.MaxConns)),
	})
	c.blocks = pool
	return pool, err
}

// Close closes both pools.
func (c *conn) Close() error {
	c.mu.Lock()
	c.closed = true
	pool := c.blocks
	c.mu.Unlock()
	if pool != nil {
		pool.Close()
	}
	return c.Conn.Close()
}

// addrs dials the first address that answers.
type addrs []string

// DialContext implements ch.Dialer.
func (a addrs) DialContext(ctx context.Context, network, _ string) (net.Conn, error) {
	var errs []error
	for _, addr := range a {
		var d net.Dialer
		nc, err := d.DialContext(ctx, network, addr)
		if err == nil {
			return nc, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// Blocks implements Conn. An error that the server answered is an *Exception.
func (c *conn) Blocks(ctx context.Context, q BlockQuery) error {
	pool, err := c.pool()
	if err != nil {
		return err
	}
	got := false
	return c.do(ctx, pool, q.query(func() { got = true }), &got)
}

// do runs the query, again and again if connections turn out to be closed, until
// begun is set.
func (c *conn) do(ctx context.Context, pool *chpool.Pool, query ch.Query, begun *bool) error {
	// Each failure before that may be a connection that the server closed while it
	// was idle; a fresh one comes after at most all of those.
	for attempt := 0; ; attempt++ {
		err := doOnce(ctx, pool, query)
		if err == nil || ctx.Err() != nil || *begun || attempt >= c.cfg.MaxConns {
			return asException(err)
		}
		if stale := (*net.OpError)(nil); ch.IsException(err) || errors.As(err, &stale) && stale.Op == "dial" {
			return asException(err)
		}
	}
}

// doOnce runs the query on a connection of the pool. When ctx ends the connection
// is closed, and the server then gives up the query.
func doOnce(ctx context.Context, pool *chpool.Pool, q ch.Query) error {
	client, err := pool.Acquire(ctx)
	if err != nil {
		return err
	}
	var closing sync.Once
	shut := func() { closing.Do(func() { _ = client.Close() }) } // of no use any more
	stop := context.AfterFunc(ctx, shut)
	err = client.Do(ctx, q)
	switch {
	case !stop():
		closing.Do(func() {}) // waits for the closing that ctx began
	case err != nil && (len(q.Input) > 0 || !ch.IsException(err)):
		shut() // it may be in the middle of a block
	default:
		client.Release()
	}
	return err
}

func (q *BlockQuery) query(onFirst func()) ch.Query {
	results := make(proto.Results, len(q.Columns))
	for i, c := range q.Columns {
		results[i].Data = c.column()
	}
	out := ch.Query{
		Body: q.SQL, QueryID: q.ID, Result: results,
		OnResult: func(_ context.Context, block proto.Block) error {
			if block.Rows == 0 {
				return nil
			}
			onFirst()
			return q.OnBlock(block.Rows)
		},
	}
	for _, column := range q.Sent {
		out.ExternalTable = q.SentAs
		out.ExternalData = append(out.ExternalData, proto.InputColumn{Name: column.Name, Data: column.Values.input()})
	}
	for name, value := range q.Params {
		out.Parameters = append(out.Parameters, proto.Parameter{Key: name, Value: "'" + dumpEscapes.Replace(value) + "'"})
	}
	for name, value := range q.Settings {
		out.Settings = append(out.Settings, ch.Setting{Key: name, Value: value, Important: true})
	}
	slices.SortFunc(out.Parameters, func(a, b proto.Parameter) int { return strings.Compare(a.Key, b.Key) })
	return out
}

// dumpEscapes writes a value the way the server reads a quoted field.
var dumpEscapes = strings.NewReplacer(`\`, `\\`, `'`, `\'`)

// asException shows the server's errors as clickhouse-go does, so that callers
// know one kind.
func asException(err error) error {
	if e, ok := ch.AsException(err); ok {
		return &Exception{Code: int32(e.Code), Name: e.Name, Message: e.Message, StackTrace: e.Stack}
	}
	return err
}
