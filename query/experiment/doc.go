// Package experiment compares the variants of a campaign. It is arithmetic only:
// counts in, rates with their uncertainty out.
//
// Sources of the formulas:
//
//   - The interval of a rate is Wilson's score interval (E. B. Wilson, Probable
//     inference, the law of succession, and statistical inference, JASA 22, 1927,
//     p. 209; eq. 4 in Brown, Cai, DasGupta, Interval estimation for a binomial
//     proportion, Statistical Science 16, 2001, p. 101).
//   - Two rates are compared by the two-proportion z-test with the pooled rate
//     (Fleiss, Levin, Paik, Statistical Methods for Rates and Proportions, 3rd
//     ed., section 3.2, without continuity correction), two-sided.
//
// The normal distribution is gonum's.
package experiment
