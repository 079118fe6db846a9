// Package network says where a request comes from: the address of the client,
// whether it is in a data centre, its country and region, and the part of the
// address that may be kept.
//
// The path of one address: peer and X-Forwarded-For → ClientIP → Ranges and Geo
// → Truncate. Only the truncated address may leave the handler.
//
// Lists and databases are read whole into memory and never change; to reload one
// make a new one and swap the pointer to it. That way a file that is rewritten in
// place cannot hurt a process that is using it.
package network
