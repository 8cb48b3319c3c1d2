package statetest

// shape is the tree that entries make which are added in the order of their keys:
// a block's changes, and all of a genesis, are written in that order. Its inner
// nodes have numbers; a leaf is -1.
type shape struct {
	left, right []int32
	height      []int8
	spine       []int32 // inner nodes from the root to the last leaf
}

const leaf = -1

// shapeOf adds n leaves, each behind the last. Such a tree leans to the right
// alone, so that one rotation to the left keeps its balance (IAVL,
// MutableTree.balance).
func shapeOf(n int) *shape {
	s := &shape{left: make([]int32, 0, n), right: make([]int32, 0, n), height: make([]int8, 0, n)}
	for range n - 1 {
		s.left, s.right, s.height = append(s.left, leaf), append(s.right, leaf), append(s.height, 1)
		s.spine = append(s.spine, int32(len(s.left)-1)) // where the last leaf was
		for at := len(s.spine) - 2; at >= 0; at-- {
			node, child := s.spine[at], s.spine[at+1]
			s.right[node] = child
			if s.high(child)-s.high(s.left[node]) <= 1 {
				s.height[node] = 1 + max(s.high(child), s.high(s.left[node]))
				continue
			}
			s.right[node] = s.left[child]
			s.height[node] = 1 + max(s.high(s.left[node]), s.high(s.right[node]))
			s.left[child] = node
			s.height[child] = 1 + max(s.high(node), s.high(s.right[child]))
			s.spine = append(s.spine[:at], s.spine[at+1:]...)
		}
	}
	return s
}

func (s *shape) high(node int32) int8 {
	if node == leaf {
		return 0
	}
	return s.height[node]
}

// root is the topmost node.
func (s *shape) root() int32 {
	if len(s.spine) == 0 {
		return leaf
	}
	return s.spine[0]
}
