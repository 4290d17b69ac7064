// SPDX-License-Identifier: MIT

// Command measure says what this client does on a ring: 16 writers of one key (requests a put), and
// gets and puts of 64 bytes with 64 under way (a second). It prints one JSON object.
//
//	measure -members 127.0.0.1:4001 [-seconds 3] [-key-file FILE]
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	chord "chord.example/dht"
)

const (
	writers  = 16
	underWay = 64
	keys     = 1000
)

type figures struct {
	Writers         int     `json:"writers_of_one_key"`
	Puts            []int   `json:"puts_of_each"`
	RequestsAPut    float64 `json:"requests_a_put"`
	LongestWaitMs   int64   `json:"longest_wait_ms"`
	UnderWay        int     `json:"under_way"`
	GetsASecond     float64 `json:"gets_a_second"`
	RequestsAGet    float64 `json:"requests_a_get"`
	PutsASecond     float64 `json:"puts_a_second"`
	GetsAloneSecond float64 `json:"gets_a_second_one_under_way"`
}

func main() {
	members := flag.String("members", "", "host:port, several with commas")
	keyFile := flag.String("key-file", "", "the ring key: its first line")
	seconds := flag.Float64("seconds", 3, "of each measurement")
	flag.Parse()
	if err := run(*members, *keyFile, time.Duration(*seconds*float64(time.Second))); err != nil {
		fmt.Fprintf(os.Stderr, "measure: %v\n", err)
		os.Exit(1)
	}
}

func run(members, keyFile string, span time.Duration) error {
	options := chord.Options{Members: strings.Split(members, ",")}
	if keyFile != "" {
		text, err := os.ReadFile(keyFile)
		if err != nil {
			return err
		}
		options.Key, _, _ = bytes.Cut(text, []byte("\n"))
	}
	client, err := chord.Open(context.Background(), options)
	if err != nil {
		return err
	}
	defer client.Close()
	var told figures
	if err := oneKey(client, span, &told); err != nil {
		return err
	}
	if err := manyKeys(client, span, &told); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(told)
}

// loop runs many at the same time until the time is over, and tells how often each of them did it.
func loop(many int, span time.Duration, once func(worker, round int) error) ([]int, time.Duration, error) {
	var running sync.WaitGroup
	rounds := make([]int, many)
	failures := make([]error, many)
	began := time.Now()
	for worker := 0; worker < many; worker++ {
		running.Add(1)
		go func(worker int) {
			defer running.Done()
			for time.Since(began) < span && failures[worker] == nil {
				failures[worker] = once(worker, rounds[worker])
				rounds[worker]++
			}
		}(worker)
	}
	running.Wait()
	for _, err := range failures {
		if err != nil {
			return nil, 0, err
		}
	}
	return rounds, time.Since(began), nil
}

func sum(counts []int) float64 {
	total := 0
	for _, count := range counts {
		total += count
	}
	return float64(total)
}

func oneKey(client *chord.Client, span time.Duration, told *figures) error {
	ctx := context.Background()
	if _, err := client.Put(ctx, "hot", nil); err != nil {
		return err
	}
	longest := make([]time.Duration, writers)
	before := client.Requests()
	puts, _, err := loop(writers, span, func(worker, round int) error {
		began := time.Now()
		_, err := client.Put(ctx, "hot", []byte(fmt.Sprint(worker, round)))
		if took := time.Since(began); took > longest[worker] {
			longest[worker] = took
		}
		return err
	})
	if err != nil {
		return err
	}
	told.Writers, told.Puts = writers, puts
	told.RequestsAPut = float64(client.Requests()-before) / sum(puts)
	for _, took := range longest {
		if took.Milliseconds() > told.LongestWaitMs {
			told.LongestWaitMs = took.Milliseconds()
		}
	}
	return nil
}

func manyKeys(client *chord.Client, span time.Duration, told *figures) error {
	ctx := context.Background()
	value := bytes.Repeat([]byte("v"), 64)
	key := func(worker, round int) string { return fmt.Sprintf("key-%d", (worker*keys/underWay+round)%keys) }
	var all []chord.Operation
	for i := 0; i < keys; i++ {
		all = append(all, chord.Put(key(0, i), value))
	}
	for _, result := range client.Batch(ctx, all...) {
		if result.Err != nil {
			return result.Err
		}
	}
	get := func(worker, round int) error {
		_, err := client.Get(ctx, key(worker, round))
		return err
	}
	told.UnderWay = underWay
	before := client.Requests()
	gets, took, err := loop(underWay, span, get)
	if err != nil {
		return err
	}
	told.GetsASecond = sum(gets) / took.Seconds()
	told.RequestsAGet = float64(client.Requests()-before) / sum(gets)
	puts, took, err := loop(underWay, span, func(worker, round int) error {
		_, err := client.Put(ctx, key(worker, round), value)
		return err
	})
	if err != nil {
		return err
	}
	told.PutsASecond = sum(puts) / took.Seconds()
	alone, took, err := loop(1, span, get)
	if err != nil {
		return err
	}
	told.GetsAloneSecond = sum(alone) / took.Seconds()
	return nil
}
