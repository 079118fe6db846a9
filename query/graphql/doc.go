// Package graphql serves the reports at /graphql, schema-first: schema.graphqls
// decides, make generate makes generated.go and models.go from it.
//
// The path of one query: POST → limits of depth and cost → the fields of Query →
// Backend, which knows who asks and checks each report as it does those of REST.
// No field reaches another advertiser: an alias is only another call of Backend
// under the same key.
package graphql
