// Package agent reads user agents: is it a crawler, is it a browser at all, and
// which device, operating system and browser is it.
//
// The path of one agent: Parse → cache → crawler list → names → known browsers →
// Verdict. What a Verdict says depends on the agent and the lists alone, and its
// texts come from fixed tables: nothing that a client wrote gets out.
//
// # Crawlers
//
// The list is crawler-user-agents by Martin Monperrus and contributors (MIT), as
// published in the packages of that name on npm and PyPI. An agent is a crawler
// if any of its patterns matches, with the few exceptions named in this package.
// To renew it, take the newest release, set listVersion, and look at the recall
// and the false positives that the tests print:
//
//	npm pack crawler-user-agents@VERSION   # or: pip download --no-deps crawler-user-agents==VERSION
//	tar xzf crawler-user-agents-VERSION.tgz --strip-components=1 -C data package/crawler-user-agents.json package/LICENSE
//
// A file of the same form can take its place at run time (LoadList); to reload
// one, make a new Parser and swap the pointer to it.
//
// # Known browsers
//
// An agent that no known browser sends is a non-browser: an empty one, one that
// does not begin as all browsers' agents do (Mozilla/ or Opera/), and one in
// which no browser or no operating system is known. Web views inside apps, smart
// TVs and game consoles are browsers here: people see ads there. So are the
// agents that the systems of devices give to apps which bring none of their own
// (Dalvik on Android, CFNetwork and AppleCoreMedia on Apple's, Roku), since ad
// SDKs fire beacons through them. HTTP libraries are not, okhttp among them: an
// app that uses one should send the agent of the device's web view.
//
// # Names
//
// Browser, system and kind of device come from medama-io/go-useragent; tables in
// this package add what it does not tell apart: apps' browsers, TVs, consoles,
// tablets with Android, and systems of other devices. What is not known is
// called other.
package agent
