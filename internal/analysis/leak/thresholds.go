package leak

// Thresholds are the tunable numbers of the analysis. Defaults holds them with
// their reasons; docs/verdicts.md has the error rates that they come to.
type Thresholds struct {
	// Alpha is the one-sided probability of a trend at one look. The looks at a
	// growing lifetime are strongly dependent, and each call must pass the tests
	// of size and shape too, so that all looks together keep the bar of false alarms.
	Alpha float64

	// LookGrowth is the share by which a lifetime has grown when the next look at it is due.
	LookGrowth float64

	// Growth is the growth of the floor that matters, as a share of the level
	// where it began, once a process has been seen for Patience.
	Growth float64
	// Patience is the time in seconds after which a slow line is taken at its
	// word. A process that warms up looks the same before.
	Patience float64
	// Steep is growth past the warm-up that matters at once: a heap that is
	// collected when it has doubled does not come near it.
	Steep float64
	// SteepBytes and SteepCount are what steep growth must come to before Patience: a process that has just
	// begun is small, and becomes many times as large by what it caches and pools.
	SteepBytes, SteepCount float64
	// LimitWithin is the time in seconds within which reaching the limit matters,
	// however small the growth.
	LimitWithin float64
	// MinBytes and MinCount are the least growth that is ever reported.
	MinBytes, MinCount float64

	// MinReadings is the number of readings below which nothing is judged.
	MinReadings int
	// MinBlocks is the number of floors below which the trend test has too little
	// power, MaxBlocks the number that a window is divided into.
	MinBlocks, MaxBlocks int
	// BlockReadings is the number of readings that a block has where there are
	// enough of them for twice MinBlocks: it sees the floor of quick collections.
	BlockReadings float64
	// MinCycles is the number of collections below which the floors between them
	// are too few, MinCyclesPass the number below which nothing passes.
	MinCycles, MinCyclesPass int
	// CyclesPerBlock is the number of collections in a block that surely sees a floor.
	CyclesPerBlock float64
	// Drop is the share of the range of readings that a fall must exceed to be
	// the end of a collection.
	Drop float64
	// DropNoise is the number of median differences between readings that it must
	// exceed too.
	DropNoise float64
	// Collected is the number of falls, sharp and back by half of the rise before each at least, from which on memory is known to be
	// collected: what has grown since the last of them may be garbage. CollectedNoise is the number of median differences
	// between readings that such a fall must exceed.
	Collected      int
	CollectedNoise float64
	// AboveSwing is growth over the swing of collections from which on the
	// collections need not be waited for.
	AboveSwing float64

	// WarmUp is the share of a lifetime's beginning that is left out, WarmUpShort
	// the same for each of several lifetimes.
	WarmUp, WarmUpShort float64

	// LoadVaries is the coefficient of variation from which on load is taken out
	// of the floors, MaxInflation the inflation of the slope's variance above
	// which load and time cannot be told apart.
	LoadVaries, MaxInflation float64

	// ClockLoad is the coefficient of variation of load from which on the number of
	// requests may be the better clock of growth, ClockNoise the share of the noise
	// that it must leave at most.
	ClockLoad, ClockNoise float64

	// LateSlope is the share of the slope that the later half must have,
	// LateSlopeShort the same of several lifetimes, each of which warms up.
	LateSlope, LateSlopeShort float64
	// LateP is the probability that the rise of the later half must be below,
	// LatePFew the same where its floors are few, as those of several lifetimes are.
	LateP, LatePFew float64
	// Bend is the t statistic of a falling curvature from which on growth slows down.
	// BendEarly is the same for growth that has not been seen for Patience, and for
	// several lifetimes, each of which warms up.
	Bend, BendEarly float64
	// HoldP is the probability of a trend below which a leak that was called still holds.
	HoldP float64
	// HoldSlope is the share of the slope from which on the rise of the later half says that a leak
	// that was called goes on, although it is no line: the arrival of requests bends one that has no other
	// noise, and rare collections make steps of it.
	HoldSlope float64
	// KinkGain is the share of what a line leaves that a line which becomes flat
	// must leave at most to be the better description.
	KinkGain float64
	// SettlingGain is how many times the share of one independent floor a curve
	// towards a level must leave less of a lifetime's floors than a line to be the
	// better description, SettlingLeast the share that suffices at all events, and
	// Unsettled how many times the curve's rise a rise must be to be growth beside it.
	SettlingGain, SettlingLeast, Unsettled float64
	// StepGain is the factor by which a few steps must leave less of the floors
	// than a line to be the better description.
	StepGain float64
	// StairSlope is the share of the slope that the later half of as many steps as
	// are told from a line must have: steps that do not shrink go on.
	StairSlope float64

	// RestartShare is the share of the floor that a fall must exceed to be a
	// restart, RestartNoise the number of mean differences between readings that it
	// must exceed too, and RestartReadings the readings that must stay below.
	RestartShare, RestartNoise float64
	RestartReadings            int
	// RestartPoints is the number of points before a fall that must all lie above
	// it, of a resource that is counted.
	RestartPoints int
	// RecentFloors is the number of floors before a fall under quick collections
	// that all lie above it, LowFloors the number from it on that stay below.
	RecentFloors, LowFloors int
	// QuickCollections is the number of collections from which on they are quick
	// beside a lifetime. They are sought in QuickParts parts of it, of QuickPart
	// readings at least.
	QuickCollections, QuickParts, QuickPart int
	// QuickFall is the largest fall within a few readings, relative to their level,
	// from which on they see collections too quick to be told from one another.
	QuickFall float64
	// NearLimit is the share of its limit from which a resource falls when its
	// process is restarted for it.
	NearLimit float64
}

// Defaults are the thresholds of every analysis.
var Defaults = Thresholds{
	Alpha:          0.004,
	Growth:         0.03,
	Patience:       5.9 * 3600,
	Steep:          0.65,
	SteepBytes:     40 << 20,
	SteepCount:     100,
	LimitWithin:    24 * 3600,
	MinBytes:       1 << 20,
	MinCount:       3,
	MinReadings:    20,
	MinBlocks:      10,
	MaxBlocks:      48,
	BlockReadings:  12,
	MinCycles:      6,
	MinCyclesPass:  8,
	CyclesPerBlock: 2.5,
	Drop:           0.4,
	DropNoise:      10,
	Collected:      2,
	CollectedNoise: 5,
	AboveSwing:     2,
	WarmUp:         0.25,
	WarmUpShort:    0.30,
	LoadVaries:     0.05,
	MaxInflation:   10,
	LateSlope:      0.4,
	LateP:          0.1,
	Bend:           -3,
	BendEarly:      -1.5,
	HoldP:          0.2,
	HoldSlope:      0.85,
	KinkGain:       0.65,
	SettlingGain:   6,
	SettlingLeast:  0.3,
	Unsettled:      1.5,
	StepGain:       0.5,
	LookGrowth:     1. / 12,
	ClockLoad:      0.20,
	ClockNoise:     0.9,
	LatePFew:       0.3,

	RestartShare:     0.12,
	RestartNoise:     3,
	RestartReadings:  3,
	RestartPoints:    64,
	RecentFloors:     2,
	LowFloors:        2,
	QuickCollections: 16,
	QuickParts:       12,
	QuickPart:        30,
	QuickFall:        0.08,
	NearLimit:        0.9,
}
