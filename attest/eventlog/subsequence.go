package eventlog

import "github.com/secretvm/secretvm/vm"

// maxCells bounds the table of one comparison.
const maxCells = 4 << 20

// subsequence returns the index pairs of a longest common subsequence of digests.
func subsequence(a, b []vm.Event) (pairs [][2]int) {
	start := 0
	for start < len(a) && start < len(b) && a[start].Digest == b[start].Digest {
		pairs = append(pairs, [2]int{start, start})
		start++
	}
	endA, endB := len(a), len(b)
	for endA > start && endB > start && a[endA-1].Digest == b[endB-1].Digest {
		endA, endB = endA-1, endB-1
	}
	n, m := endA-start, endB-start
	if n > 0 && m > 0 && n*m <= maxCells {
		// length[i][j] is that of the longest common subsequence of a[i:] and b[j:].
		width := m + 1
		length := make([]uint16, (n+1)*width)
		for i := n - 1; i >= 0; i-- {
			for j := m - 1; j >= 0; j-- {
				if a[start+i].Digest == b[start+j].Digest {
					length[i*width+j] = length[(i+1)*width+j+1] + 1
				} else {
					length[i*width+j] = max(length[(i+1)*width+j], length[i*width+j+1])
				}
			}
		}
		for i, j := 0, 0; i < n && j < m; {
			switch {
			case a[start+i].Digest == b[start+j].Digest:
				pairs = append(pairs, [2]int{start + i, start + j})
				i, j = i+1, j+1
			case length[(i+1)*width+j] >= length[i*width+j+1]:
				i++
			default:
				j++
			}
		}
	}
	for k := 0; endA+k < len(a); k++ {
		pairs = append(pairs, [2]int{endA + k, endB + k})
	}
	return pairs
}
