// Package limit decides who may ask how much: requests and cost per key, reports
// that run at once per advertiser. What it refuses never reaches ClickHouse.
package limit
