// Package dev runs the servers that adtally needs inside one data directory:
// a ClickHouse child process and a Kafka broker in process.
//
// They are real: ClickHouse is the engine itself (libchdb, loaded by a
// re-executed child of our own binary, or an installed clickhouse), the broker
// speaks Kafka's protocol and keeps its log on disk. Both serve loopback only,
// and what they acknowledged survives kill -9 of the whole process.
//
// New is inert, Run blocks until its context is done and everything that it
// started is gone. A program that uses NewClickHouse calls ChildMain first.
package dev
