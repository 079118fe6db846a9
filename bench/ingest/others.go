package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/adtally/adtally/bench/internal/measure"
)

// luaFolder names the variable with the folder of lua-resty-kafka's sources.
const luaFolder = "LUA_RESTY_KAFKA"

// nginxModules is where Debian's packages have them.
const nginxModules = "/usr/lib/nginx/modules"

// benthosBinary is built by run.sh from bench/ingest/benthos, a module of its
// own.
const benthosBinary = "bin/bench-benthos"

// missing says why a server cannot be measured here, and how it could.
func missing(w who) error {
	switch w {
	case nginx:
		if _, err := exec.LookPath("nginx"); err != nil {
			return errors.New("no nginx: apt-get install nginx-light libnginx-mod-http-lua")
		}
		if _, err := os.Stat(filepath.Join(nginxModules, "ngx_http_lua_module.so")); err != nil {
			return errors.New("nginx has no Lua: apt-get install libnginx-mod-http-lua")
		}
		if _, err := os.Stat(filepath.Join(os.Getenv(luaFolder), "lib/resty/kafka/producer.lua")); err != nil { //nolint:gosec // whoever runs the benchmark names the folder
			return fmt.Errorf("%s must be the folder of a clone of https://github.com/doujiang24/lua-resty-kafka", luaFolder)
		}
	case benthos, checking:
		if _, err := os.Stat(benthosBinary); err != nil {
			return fmt.Errorf("no %s: cd bench/ingest/benthos && go build -o ../../../%s", benthosBinary, benthosBinary)
		}
	case adtally, static:
	}
	return nil
}

// nginxConfig is one worker that answers a pixel when its broker has
// acknowledged it. The producer is a request's own, as the library's
// synchronous mode wants it, with the smallest buffer that it can have, because
// it allocates all of it; brokers and connections are shared.
const nginxConfig = `load_module %[1]s/ndk_http_module.so;
load_module %[1]s/ngx_http_lua_module.so;
daemon off;
master_process off;
error_log stderr error;
pid %[2]s/nginx.pid;
events { worker_connections 4096; }
http {
	access_log off;
	keepalive_requests 1000000000;
	client_body_temp_path %[2]s;
	proxy_temp_path %[2]s;
	fastcgi_temp_path %[2]s;
	uwsgi_temp_path %[2]s;
	scgi_temp_path %[2]s;
	lua_package_path "%[3]s/lib/?.lua;/usr/share/lua/5.1/?.lua;;";
	lua_socket_log_errors off;
	init_by_lua_block {
		producer = require "resty.kafka.producer"
		brokers = {{host = "127.0.0.1", port = %[4]d}}
		settings = {required_acks = -1, max_buffering = 1, batch_num = 1, keepalive_size = 1024}
		gif = ngx.decode_base64("R0lGODlhAQABAIAAAAAAAAAAACH5BAEAAAAALAAAAAABAAEAAAICRAEAOw==")
	}
	server {
		listen %[5]s backlog=4096;
		location /i/ {
			content_by_lua_block {
				local p = producer:new(brokers, settings)
				shared = shared or p.client
				p.client = shared
				local headers = ngx.req.get_headers()
				local message = table.concat({ngx.now(), ngx.var.remote_addr, headers["x-forwarded-for"] or "",
					ngx.var.request_uri, headers["user-agent"] or "", headers["referer"] or ""}, "\t")
				local ok, err = p:send("%[6]s", ngx.var.uri, message)
				if not ok then
					ngx.log(ngx.ERR, err)
					return ngx.exit(503)
				end
				ngx.header["Content-Type"] = "image/gif"
				ngx.header["Content-Length"] = #gif
				ngx.header["Cache-Control"] = "no-store, no-cache, must-revalidate, private"
				ngx.print(gif)
			}
		}
	}
}
`

func startNginx(ctx context.Context, dir, addr string, broker int) (*measure.Process, error) {
	lua, err := filepath.Abs(os.Getenv(luaFolder))
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "nginx.conf")
	config := fmt.Sprintf(nginxConfig, nginxModules, dir, lua, broker, addr, topic)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil { //nolint:gosec // in a temporary folder of this run
		return nil, err
	}
	return measure.Start(ctx, addr, "nginx", "-p", dir, "-c", file)
}

func startBenthos(ctx context.Context, k *kase, dir, addr, broker string) (*measure.Process, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(broker))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreateTopic(ctx, partitions, 1, nil, topic); err != nil {
		return nil, err
	}
	args := []string{addr, broker, topic}
	if k.who == checking {
		secret, err := signingSecret(dir)
		if err != nil {
			return nil, err
		}
		args = append(args, secret)
	}
	return measure.Start(ctx, addr, benthosBinary, args...)
}

// signingSecret reads the one key that prepare has made, in base64.
func signingSecret(dir string) (string, error) {
	text, err := os.ReadFile(filepath.Join(dir, keysFile)) //nolint:gosec // in a temporary folder of this run
	if err != nil {
		return "", err
	}
	var ring struct {
		Keys []struct {
			Secret string `json:"secret"`
		} `json:"keys"`
	}
	if err := json.Unmarshal(text, &ring); err != nil {
		return "", err
	}
	if len(ring.Keys) != 1 {
		return "", fmt.Errorf("%s has %d keys, not one", keysFile, len(ring.Keys))
	}
	return ring.Keys[0].Secret, nil
}

// startBroker starts the broker that a server speaks to.
func startBroker(ctx context.Context, k *kase, addr string, port int) (*measure.Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if k.who == nginx {
		return measure.Start(ctx, addr, self, "legacy", strconv.Itoa(port))
	}
	return measure.Start(ctx, addr, self, "broker", strconv.Itoa(port), k.delay.String())
}
