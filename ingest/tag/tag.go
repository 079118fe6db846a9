// Package tag holds beacon.js, the script that counts ads in web pages.
//
// Its source is TypeScript in npm/src; npm/dist is what "make tag" builds of it,
// committed so that a build of adtally needs no npm. The same folder is the npm
// package @adtally/beacon for pages that bundle their scripts.
package tag

import _ "embed" // for the script

//go:embed npm/dist/beacon.js
var script []byte

// Script returns beacon.js. The bytes are shared and must not be changed.
func Script() []byte { return script }
