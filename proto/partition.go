package proto

// PartitionScheme names the rule of Partition. It is recorded with the ledger:
// another rule would part repeats from their firsts.
const PartitionScheme = "campaign+impression%spread/v1"

// Partition returns the partition of an event in a topic of n partitions:
// hash(campaign, impression mod spread) mod n. An impression, its repeats and
// its clicks share a partition, and a campaign lives on at most spread of them,
// so that a window's rows reduce many events to one. Events without an
// impression go by their own id.
func Partition(e *Event, spread, n uint32) int32 {
	id := e.ImpressionIdLo
	if e.ImpressionIdHi|e.ImpressionIdLo == 0 {
		id = e.EventIdLo
	}
	return int32(mix(e.CampaignId*31+id%uint64(spread)) % uint64(n))
}

// mix is the finaliser of SplitMix64 (Steele, Lea, Flood 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
