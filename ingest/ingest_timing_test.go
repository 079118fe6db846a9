package ingest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/valyala/fasthttp"
)

// browserHeaders is what a browser sends along with a pixel.
const browserHeaders = "Connection: keep-alive\r\n" +
	"sec-ch-ua: \"Chromium\";v=\"142\", \"Not_A Brand\";v=\"99\"\r\n" +
	"sec-ch-ua-mobile: ?0\r\nsec-ch-ua-platform: \"Linux\"\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36\r\n" +
	"Accept: image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8\r\n" +
	"Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: image\r\n" +
	"Referer: https://news.example/\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-US,en;q=0.9\r\n"

// serverBody is a batch of n full server events.
func serverBody(n int) string {
	now := time.Now()
	var b strings.Builder
	b.WriteString(`{"events":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"type":"impression","id":"5f0c9d2e7b1a4c3d8e9f0011223%05d","time":%d,"advertiser_id":%d,"campaign_id":%d,`, i, now.UnixMilli(), i%50+1, i%500+1)
		fmt.Fprintf(&b, `"ad_group_id":%d,"creative_id":%d,"placement_id":%d,"publisher_id":%d,"country":"US","region":"US-CA","device":"mobile","os":"ios",`, i+3, i+4, i+5, i+6)
		b.WriteString(`"browser":"safari","variant":"a","user_id":"5d41402abc4b2a76b9719d911017c592","ip":"192.0.2.1","user_agent":"Mozilla/5.0 (iPhone; CPU iPhone OS 26_1 like Mac OS X)",`)
		b.WriteString(`"price":"1.25","pricing":"cpm","currency":"USD"}`)
	}
	b.WriteString("]}")
	return b.String()
}

// BenchmarkBeacon is the path of a pixel without the network and Kafka.
func BenchmarkBeacon(b *testing.B) {
	s := offline(b, discard{})
	request := fmt.Appendf(nil, "GET /i/%s?cb=1234567 HTTP/1.1\r\nHost: h\r\n%s\r\n", newRing(b).Sign(nil, fullToken()), browserHeaders)
	benchmarkServe(b, s.serve, request, 200)
}

// BenchmarkStatic is the same request answered with the GIF alone.
func BenchmarkStatic(b *testing.B) {
	request := fmt.Appendf(nil, "GET /i/%s?cb=1234567 HTTP/1.1\r\nHost: h\r\n%s\r\n", newRing(b).Sign(nil, fullToken()), browserHeaders)
	benchmarkServe(b, answerPixel, request, 200)
}

// BenchmarkBatch is a server batch without the network and Kafka.
func BenchmarkBatch(b *testing.B) {
	for _, n := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("events=%d", n), func(b *testing.B) {
			body := serverBody(n)
			b.SetBytes(int64(len(body)))
			request := fmt.Appendf(nil, "POST /v1/events HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer all\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			benchmarkServe(b, offline(b, discard{}).serve, request, 202)
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/event")
		})
	}
}

func benchmarkServe(b *testing.B, serve fasthttp.RequestHandler, request []byte, status int) {
	b.Helper()
	b.ReportAllocs()
	var ctx fasthttp.RequestCtx
	in := bytes.NewReader(request)
	br := bufio.NewReaderSize(in, 8<<10)
	for b.Loop() {
		in.Reset(request)
		br.Reset(in)
		ctx.Request.Reset()
		ctx.Response.Reset()
		if err := ctx.Request.Read(br); err != nil {
			b.Fatal(err)
		}
		serve(&ctx)
		if ctx.Response.StatusCode() != status {
			b.Fatalf("%d %s", ctx.Response.StatusCode(), ctx.Response.Body())
		}
	}
}

// BenchmarkEndToEnd is the whole path, broker and clients in this process, with
// many connections: one operation is one acknowledged request.
func BenchmarkEndToEnd(b *testing.B) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(testPartitions, testTopic), kfake.BlackholeProduce())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(cluster.Close)
	r := startOn(b, cluster, nil)
	body := serverBody(100)
	requests := map[string]string{
		"pixel":     "GET /i/" + r.sign(nil) + "?cb=1 HTTP/1.1\r\nHost: h\r\n" + browserHeaders + "\r\n",
		"batch=100": fmt.Sprintf("POST /v1/events HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer all\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body),
	}
	for name, request := range requests {
		b.Run(name, func(b *testing.B) {
			b.SetParallelism(64)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				c, err := net.Dial("tcp", r.addr)
				if err != nil {
					b.Error(err)
					return
				}
				defer func() { _ = c.Close() }()
				answers := bufio.NewReader(c)
				for pb.Next() {
					_, _ = io.WriteString(c, request)
					res, err := http.ReadResponse(answers, nil)
					if err != nil {
						b.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, res.Body)
					_ = res.Body.Close()
					if res.StatusCode > 202 {
						b.Error(res.Status)
						return
					}
				}
			})
		})
	}
}
