// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	chord "chord.example/dht"
)

type request struct {
	ID        json.RawMessage `json:"id"`
	Do        string          `json:"do"`
	Members   []string        `json:"members"`
	Key       []byte          `json:"key"`
	Value     []byte          `json:"value"`
	Stale     bool            `json:"stale"`
	IfAbsent  bool            `json:"if_absent"`
	IfVersion string          `json:"if_version"`
	ExpiresAt *int64          `json:"expires_at_ms"`
	TimeoutMs int64           `json:"timeout_ms"`
	AttemptMs int64           `json:"attempt_ms"`
	Method    string          `json:"method"`
	Payload   []byte          `json:"payload"`

	Operations []request `json:"operations"`
}

type answer map[string]any

func invalid(format string, arguments ...any) answer {
	return answer{"code": "INVALID_ARGUMENT", "fate": chord.NotDone.String(), "message": fmt.Sprintf(format, arguments...)}
}

func failed(err error) answer {
	var failure *chord.Error
	if !errors.As(err, &failure) {
		return invalid("%v", err)
	}
	fields := answer{"code": failure.Code.String(), "fate": failure.Fate.String(), "message": failure.Message}
	addVersion(fields, failure.Version)
	if failure.RetryAfter > 0 {
		fields["retry_after_ms"] = failure.RetryAfter.Milliseconds()
	}
	return fields
}

func done(code chord.Code) answer {
	return answer{"code": code.String(), "fate": chord.Done.String()}
}

func addVersion(fields answer, version chord.Version) {
	if !version.IsZero() {
		fields["version"] = fmt.Sprintf("%d.%d", version.Epoch, version.Counter)
	}
}

// ---- the session ----

// session has the client that is open, if there is one.
type session struct {
	client *chord.Client
}

func (s *session) open(asked *request) answer {
	s.close()
	client, err := chord.Open(context.Background(), chord.Options{
		Members: asked.Members,
		Key:     asked.Key,
		Timeout: time.Duration(asked.TimeoutMs) * time.Millisecond,
		Attempt: time.Duration(asked.AttemptMs) * time.Millisecond,
		Lazy:    true, // the members may be there only later
	})
	if err != nil {
		return failed(err)
	}
	s.client = client
	return answer{"code": "OK"}
}

func (s *session) close() answer {
	if s.client != nil {
		s.client.Close()
		s.client = nil
	}
	return answer{"code": "OK"}
}

// ---- the operations ----

func perform(client *chord.Client, asked *request) answer {
	if client == nil {
		return invalid("no client is open; open one first")
	}
	ctx := context.Background()
	if asked.TimeoutMs > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(asked.TimeoutMs)*time.Millisecond)
		defer cancel()
	}
	switch asked.Do {
	case "get", "put", "delete":
		return batch(ctx, client, []request{*asked})[0]
	case "batch":
		return answer{"results": batch(ctx, client, asked.Operations)}
	case "lookup":
		return lookup(ctx, client, string(asked.Key))
	case "server_info":
		return serverInfo(ctx, client)
	case "call":
		return call(ctx, client, asked)
	case "counters":
		return answer{"calls": client.Requests()}
	}
	return invalid("there is no %q to do", asked.Do)
}

// batch gives one answer for each request, those included that are no operation.
func batch(ctx context.Context, client *chord.Client, asked []request) []answer {
	answers := make([]answer, len(asked))
	var operations []chord.Operation
	var places []int
	for i := range asked {
		operation, err := operationOf(&asked[i])
		if err != nil {
			answers[i] = invalid("%v", err)
			continue
		}
		operations = append(operations, operation)
		places = append(places, i)
	}
	for i, result := range client.Batch(ctx, operations...) {
		answers[places[i]] = told(asked[places[i]].Do, result)
	}
	return answers
}

func operationOf(asked *request) (chord.Operation, error) {
	var options []chord.Option
	if asked.Stale {
		options = append(options, chord.Stale())
	}
	if asked.IfAbsent {
		options = append(options, chord.IfAbsent())
	}
	if asked.IfVersion != "" {
		version, err := versionOf(asked.IfVersion)
		if err != nil {
			return chord.Operation{}, err
		}
		options = append(options, chord.IfVersion(version))
	}
	if asked.ExpiresAt != nil && *asked.ExpiresAt != 0 {
		options = append(options, chord.ExpiresAt(time.UnixMilli(*asked.ExpiresAt)))
	}
	key := string(asked.Key)
	switch asked.Do {
	case "get":
		return chord.Get(key, options...), nil
	case "put":
		return chord.Put(key, asked.Value, options...), nil
	case "delete":
		return chord.Delete(key, options...), nil
	}
	return chord.Operation{}, fmt.Errorf("there is no operation %q", asked.Do)
}

func versionOf(text string) (chord.Version, error) {
	epoch, counter, _ := strings.Cut(text, ".")
	var version chord.Version
	var err error
	if version.Epoch, err = strconv.ParseUint(epoch, 10, 64); err == nil {
		version.Counter, err = strconv.ParseUint(counter, 10, 64)
	}
	if err != nil {
		return version, fmt.Errorf("%q is no version; give epoch.counter", text)
	}
	return version, nil
}

func told(do string, result chord.Result) answer {
	if result.Err != nil {
		return failed(result.Err)
	}
	fields := done(chord.OK)
	addVersion(fields, result.Version)
	if do == "get" {
		fields["value"] = append([]byte{}, result.Value...)
		fields["stale"] = result.Stale
		fields["expires_at_ms"] = int64(0)
		if !result.ExpiresAt.IsZero() {
			fields["expires_at_ms"] = result.ExpiresAt.UnixMilli()
		}
		return fields
	}
	fields["existed"] = result.Existed
	if do == "delete" && !result.Existed {
		fields["code"] = chord.NotFound.String()
	}
	return fields
}

func lookup(ctx context.Context, client *chord.Client, key string) answer {
	found, err := client.Lookup(ctx, key)
	if err != nil {
		return failed(err)
	}
	fields := done(chord.OK)
	fields["owner"] = found.Owner.Address
	fields["key_id"] = hex.EncodeToString(found.KeyID)
	fields["hops"] = len(found.Hops)
	return fields
}

func serverInfo(ctx context.Context, client *chord.Client) answer {
	info, err := client.ServerInfo(ctx)
	if err != nil {
		return failed(err)
	}
	fields := done(chord.OK)
	fields["m"], fields["n"], fields["replicas"] = info.M, info.N, info.Replicas
	fields["ring_id"] = hex.EncodeToString(info.RingID)
	return fields
}

func call(ctx context.Context, client *chord.Client, asked *request) answer {
	payload, err := client.Call(ctx, "", asked.Method, asked.Payload)
	fields := done(chord.OK)
	if err != nil {
		fields = failed(err)
	}
	fields["payload"] = append([]byte{}, payload...)
	return fields
}
